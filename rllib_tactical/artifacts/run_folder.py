"""The folder of a training run: what it was started with, its progress, its checkpoints.

    run.json              data, instrument, configuration, standardization: all but the weights
    progress.jsonl        one line of metrics per iteration
    validation.jsonl      one line per validation
    events.out.tfevents*  the same for TensorBoard
    training_report.html  the same as curves
    training_report.json  the newest metrics, the best validation and all validations
    checkpoints/NNNNNN/   rllib/ (to resume), actors.safetensors and checkpoint.json (to export)
    rollouts/             sampled steps as Parquet, when asked for

A checkpoint folder appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.atomic import (
    atomic_folder,
    atomic_write_bytes,
    atomic_write_text,
    is_left_over,
)
from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.output_folder import ResumableOutput
from rllib_tactical.config.loader import content_hash, recorded_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.version1 import with_current_names
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.errors import ConfigError, UnreadableError

RUN: Final = "run.json"
PROGRESS: Final = "progress.jsonl"
VALIDATIONS: Final = "validation.jsonl"
ROLLOUTS: Final = "rollouts"
CHECKPOINTS: Final = "checkpoints"
CHECKPOINT: Final = "checkpoint.json"
ACTORS: Final = "actors.safetensors"
RLLIB: Final = "rllib"

RUN_OUTPUT: Final = ResumableOutput(name="run", marker=RUN)

HISTORIES: Final = {PROGRESS: "iteration", VALIDATIONS: "known_at"}
"""Files with a row per line, and the key that names the iteration after which it was written."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where a run starts: at its newest checkpoint, or at the beginning while it has none.

    ``iteration`` and ``env_steps`` (account steps) count what was done before; 0 at the beginning.
    ``ahead``: so many iterations after that one are sampled already, and kept in the checkpoint.
    """

    checkpoint: Path | None = None
    iteration: int = 0
    env_steps: int = 0
    ahead: int = 0


class RunFolder:
    """One training run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, run: dict[str, Any]) -> None:
        """Begin a new run here.

        Raises:
            UsageError: the folder holds a run already, or anything else.
        """
        RUN_OUTPUT.require(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(run)

    def write(self, run: dict[str, Any]) -> None:
        """Write what the run was started with."""
        write_object(self.path / RUN, run, sort_keys=True)

    def set_config(self, config: dict[str, Any], config_hash: str) -> None:
        """Change the configuration with which the run continues."""
        self.write(self.read() | {"config": config, "config_hash": config_hash})

    def read(self) -> dict[str, Any]:
        """Return what the run was started with.

        Raises:
            UnreadableError: there is no run here, or its file is damaged.
        """
        return with_current_config(read_object(self.path / RUN), str(self.path / RUN))

    def append_progress(self, row: dict[str, Any]) -> None:
        """Add one line of metrics to the progress file."""
        _append(self.path / PROGRESS, row)

    def append_validation(self, row: dict[str, Any]) -> None:
        """Add one line of validation; ``known_at`` is the iteration after which it was known."""
        _append(self.path / VALIDATIONS, row)

    def progress(self) -> list[dict[str, Any]]:
        """Return the metrics of every iteration so far."""
        return list(self.each_progress())

    def each_progress(self) -> Iterator[dict[str, Any]]:
        """Yield the metrics of one iteration after the other."""
        return _each_line(self.path / PROGRESS)

    def validations(self) -> list[dict[str, Any]]:
        """Return every validation so far."""
        return list(_each_line(self.path / VALIDATIONS))

    def start_point(self) -> StartPoint:
        """Return where training goes on from. Every process that trains here asks this first.

        Raises:
            UnreadableError: the newest checkpoint is damaged.
        """
        checkpoints = self.checkpoints()
        if not checkpoints:
            return StartPoint()
        state = read_checkpoint(checkpoints[-1])
        return StartPoint(
            checkpoints[-1],
            int(state["iteration"]),
            int(state["env_steps"]),
            int(state.get("ahead", 0)),
        )

    def drop_after(self, start: StartPoint) -> None:
        """Remove progress, validations and rollouts of iterations after ``start``."""
        for name, key in HISTORIES.items():
            path = self.path / name
            if path.exists():
                lines = path.read_text(encoding="utf-8").splitlines()
                atomic_write_text(path, lines_until(lines, key, start.iteration))
        for file in (self.path / ROLLOUTS).glob("[0-9]*.parquet"):
            if int(file.name.partition("-")[0]) > start.iteration + start.ahead:
                file.unlink()

    def checkpoints(self) -> list[Path]:
        """Return complete checkpoints, oldest first."""
        folder = self.path / CHECKPOINTS
        return sorted(p for p in folder.glob("[0-9]*") if (p / CHECKPOINT).is_file())

    def save(
        self,
        iteration: int,
        weights: dict[str, Float32Array],
        state: dict[str, Any],
        save_rllib: Callable[[str], Any],
        keep: int,
        pending: int | None = None,
    ) -> Path:
        """Write a checkpoint and drop old ones beyond the last ``keep`` and the best.

        Args:
            iteration: names the checkpoint.
            weights: the actors' weights, for export.
            state: counts and validation metrics; ``validation.net_pnl`` tells which is best.
            save_rllib: writes RLlib's own checkpoint into the folder it is given.
            keep: how many of the newest to keep.
            pending: the checkpoint that is being validated, which is kept too.
        """
        from safetensors.numpy import save

        final = self.checkpoint(iteration)
        final.parent.mkdir(exist_ok=True)
        for left in final.parent.iterdir():  # half written by a killed process
            if left.name.startswith(".writing-") or is_left_over(left.name):
                shutil.rmtree(left, ignore_errors=True)
        with atomic_folder(final) as staging:
            save_rllib(str(staging.absolute() / RLLIB))  # RLlib takes a relative path for a URI
            atomic_write_bytes(staging / ACTORS, save(weights))
            write_object(staging / CHECKPOINT, {"iteration": iteration, **state})
        kept = {self.best(), None if pending is None else self.checkpoint(pending)}
        for old in self.checkpoints()[:-keep]:
            if old not in kept:
                shutil.rmtree(old)
        return final

    def thin(self) -> None:
        """Drop every checkpoint but the newest and the best."""
        every = self.checkpoints()
        if len(every) > 1:
            kept = {every[-1], self.best()}
            for path in every:
                if path not in kept:
                    shutil.rmtree(path)

    def checkpoint(self, iteration: int) -> Path:
        """Return where the checkpoint of an iteration is, if it is there."""
        return self.path / CHECKPOINTS / f"{iteration:06d}"

    def add_validation(self, iteration: int, validation: dict[str, Any]) -> None:
        """Note the validation of a checkpoint that was written before its result was known."""
        path = self.checkpoint(iteration)
        if (path / CHECKPOINT).is_file():
            write_object(path / CHECKPOINT, read_checkpoint(path) | {"validation": validation})

    def best(self) -> Path | None:
        """Return the checkpoint with the best validation by the serving rule, if any has one.

        What is best is said by ``training.validation.best_by`` of the run. With a curriculum only
        the last stage reached counts.
        """
        training = self.read().get("config", {}).get("training", {})
        best_by = training.get("validation", {}).get("best_by", "net_pnl")
        scored = [
            ((validation.get("stage", 0), score), path)
            for path in self.checkpoints()
            if (validation := read_checkpoint(path).get("validation"))
            and (score := score_of(validation, best_by)) is not None
        ]
        return max(scored)[1] if scored else None


def score_of(validation: dict[str, Any], best_by: str) -> float | None:
    """Return the metric of ``Validation.as_dict`` that tells good from bad; None: undefined."""
    value = validation.get(best_by)
    return None if value is None else float(value)


def with_current_config(run: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a run's description with today's names of settings, and the hash that they have.

    Raises:
        ConfigError: a setting is given by its old and its new name.
    """
    config, renamed = with_current_names(run.get("config"), source)
    if not renamed:
        return run
    return run | {"config": config, "config_hash": content_hash(config)}


def config_of(run: dict[str, Any], source: str) -> TacticalConfig:
    """Return the configuration in a run's file.

    Raises:
        ConfigError: it has settings that this version does not know.
    """
    try:
        return recorded_config(run.get("config", {}), source)
    except ConfigError as error:
        raise ConfigError(f"{error}: the run is of another version of this program") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's counts and metrics.

    Raises:
        UnreadableError: no checkpoint there, or its file is damaged.
    """
    return read_object(path / CHECKPOINT)


def read_weights(checkpoint: Path) -> dict[str, Float32Array]:
    """Return the actors' weights of a checkpoint.

    Raises:
        UnreadableError: the weights are missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = checkpoint / ACTORS
    try:
        weights: dict[str, Float32Array] = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UnreadableError(f"{path}: no readable actor weights: {error}") from error
    return weights


def lines_until(lines: Iterable[str], key: str, iteration: int) -> str:
    """Return the lines whose row has at most ``iteration`` under ``key``, as a file's text."""
    return "".join(
        f"{line.rstrip()}\n" for line, row in _parsed(lines) if row.get(key, 0) <= iteration
    )


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def _each_line(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (row for _, row in _parsed(file))


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line and its row; a line cut short by a crash is left out."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield line, row

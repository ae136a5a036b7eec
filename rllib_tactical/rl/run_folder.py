"""The folder of a training run: what it was started with, its progress, its checkpoints.

    run.json              data, instrument, configuration, standardisation: all but the weights
    progress.jsonl        one line of metrics per iteration
    events.out.tfevents*  the same for TensorBoard
    checkpoints/NNNNNN/   rllib/ (to resume), actors.safetensors and checkpoint.json (to export)

A checkpoint folder appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rllib_tactical.atomic import atomic_write_bytes, atomic_write_text
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.errors import TrainingError, UnreadableError

RUN: Final = "run.json"
PROGRESS: Final = "progress.jsonl"
CHECKPOINTS: Final = "checkpoints"
CHECKPOINT: Final = "checkpoint.json"
ACTORS: Final = "actors.safetensors"
RLLIB: Final = "rllib"


class RunFolder:
    """One training run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, run: dict[str, Any]) -> None:
        """Begin a new run here.

        Raises:
            TrainingError: the folder holds a run already, or anything else.
        """
        if (self.path / RUN).exists():
            raise TrainingError(
                f"{self.path} holds a run already: continue it with --resume or name another --out"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise TrainingError(f"{self.path} is not an empty folder: name another --out")
        text = json.dumps(run, indent=2, sort_keys=True) + "\n"
        self.path.mkdir(parents=True, exist_ok=True)
        atomic_write_text(self.path / RUN, text)

    def read(self) -> dict[str, Any]:
        """Return what the run was started with.

        Raises:
            UnreadableError: there is no run here, or its file is damaged.
        """
        return _read_json(self.path / RUN)

    def append_progress(self, row: dict[str, Any]) -> None:
        """Add one line of metrics."""
        with (self.path / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def drop_progress_after(self, iteration: int) -> None:
        """Forget progress past ``iteration``: a resumed run goes through it again."""
        path = self.path / PROGRESS
        if path.exists():
            kept = [
                line
                for line in path.read_text(encoding="utf-8").splitlines()
                if _iteration_of(line) <= iteration
            ]
            atomic_write_text(path, "".join(line + "\n" for line in kept))

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
    ) -> Path:
        """Write a checkpoint and drop old ones beyond the last ``keep`` and the best.

        Args:
            iteration: names the checkpoint.
            weights: the actors' weights, for export.
            state: counts and validation figures; ``validation.net_pnl`` tells which is best.
            save_rllib: writes RLlib's own checkpoint into the folder it is given.
            keep: how many of the newest to keep.
        """
        from safetensors.numpy import save

        folder = self.path / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        for left_over in folder.glob(".writing-*"):  # of a process that was killed
            shutil.rmtree(left_over)
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        try:
            staging.chmod(0o755)
            save_rllib(str(staging.absolute() / RLLIB))  # RLlib takes a relative path for a URI
            atomic_write_bytes(staging / ACTORS, save(weights))
            atomic_write_text(
                staging / CHECKPOINT,
                json.dumps({"iteration": iteration, **state}, indent=2, allow_nan=False),
            )
            final = folder / f"{iteration:06d}"
            if final.exists():  # moved aside first, so that one of the two is always there
                os.replace(final, staging.with_suffix(".old"))
            os.replace(staging, final)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        for replaced in folder.glob(".writing-*"):
            shutil.rmtree(replaced)
        best = self.best()
        for old in self.checkpoints()[:-keep]:
            if old != best:
                shutil.rmtree(old)
        return final

    def best(self) -> Path | None:
        """Return the checkpoint with the best validation P&L by the full rule, if any has one."""
        scored = [
            (validation["net_pnl"], path)
            for path in self.checkpoints()
            if (validation := read_checkpoint(path).get("validation"))
        ]
        return max(scored)[1] if scored else None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's counts and figures.

    Raises:
        UnreadableError: no checkpoint there, or its file is damaged.
    """
    return _read_json(path / CHECKPOINT)


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


def _iteration_of(line: str) -> int:
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return 1 << 60  # a line cut short by a crash is not kept


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UnreadableError(f"{path}: must hold an object, found {type(values).__name__}")
    return values

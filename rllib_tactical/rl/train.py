"""Train the three agents on files of bars and leave a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.run_folder import RunFolder, config_of
from rllib_tactical.artifacts.versions import git_commit, library_versions
from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.tracking.console import Progress
from rllib_tactical.rl.tracking.mlflow import MlflowLog
from rllib_tactical.rl.tracking.report import REPORT
from rllib_tactical.rl.training.curriculum import check_new_run
from rllib_tactical.rl.training.market import TrainingMarket, prepare_market
from rllib_tactical.rl.training.trainer import TrainingResult, run_training
from rllib_tactical.rl.training.warm_start import describe_warm_start
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.runtime.ray_cluster import require_gpus, start_ray

RUN_FORMAT = 1


def train(
    sources: list[DataSource],
    out: Path,
    config: TacticalConfig,
    *,
    bar_seconds: int = BAR_SECONDS,
    resume: bool = False,
    max_seconds: float | None = None,
    log: Callable[[str], None] = print,
    mlflow: str | None = None,
) -> tuple[TrainingResult, TrainingMarket]:
    """Train on files of bars and leave a run folder that can be resumed and exported.

    Args:
        sources: files of bars, one per instrument.
        out: the run folder.
        config: the whole configuration.
        bar_seconds: length of a bar.
        resume: go on with the run in ``out``.
        max_seconds: end this call's training after the iteration in which so much time has passed.
        log: prints a line.
        mlflow: tracking URI of an MLflow store that gets parameters, metrics and the report.

    Raises:
        TacticalError: bad data, a folder in use, a resume that does not fit, too few CPUs or GPUs.
    """
    limit_threads()
    folder = RunFolder(out)
    before = folder.read() if resume else {}
    begun = time.monotonic()
    market = prepare_market(sources, config, bar_seconds)
    if not resume:
        check_new_run(config, market.standardization)
    # once there is a checkpoint its weights are in it, and their source may change or be gone
    known = before.get("warm_start") if folder.checkpoints() else None
    run = run_description(market, config, known)
    tracking = None if mlflow is None else MlflowLog(mlflow, log)
    start_ray(cpus_of(config, len(sources)), log)
    require_gpus(config.training.learner_gpus, config.training.num_learners)
    if resume:
        _check_resume(before, run)
        folder.set_config(run["config"], run["config_hash"])
    else:
        folder.start(run)
    for part in market.parts:
        log(part.summary())
    log(f"ready in {time.monotonic() - begun:.1f} s")
    progress = Progress(log, config.training.stop, max_seconds)
    writers = [] if tracking is None else [tracking]
    with contextlib.nullcontext() if tracking is None else tracking.run(folder):
        result = run_training(config, market, folder, progress, max_seconds, writers)
    log(
        f"trained {result.iterations} iterations, {result.env_steps:,} steps in "
        f"{result.seconds:.0f} s ({result.stopped}); checkpoint {result.last_checkpoint}"
    )
    log(f"report {out / REPORT}")
    return result, market


def cpus_of(config: TacticalConfig, instruments: int) -> int:
    """Return the CPUs that a run's workers take besides the driver's own."""
    training = config.training
    validating = training.validation.workers_for(instruments)
    return training.num_env_runners + training.num_learners + validating


def run_description(
    market: TrainingMarket, config: TacticalConfig, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a run folder remembers besides weights.

    ``known``: what is known of the warm start, which is then not read.
    """
    warm = config.training.warm_start
    return {
        "warm_start": warm.path and (known or describe_warm_start(Path(warm.path), warm.layers)),
        "format": RUN_FORMAT,
        "bar_seconds": market.parts[0].source["bar_seconds"],
        "parts": [
            {"data": part.source, "instrument": to_dict(part.history.instrument)}
            for part in market.parts
        ],
        "config": to_dict(config),
        "config_hash": content_hash(config),
        "standardisation": dataclasses.asdict(market.standardization),
        "git_commit": git_commit(),
        "versions": library_versions(),
    }


def _check_resume(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume with other data, another instrument or another configuration."""
    if before.get("warm_start") != now["warm_start"]:
        raise TrainingError("--resume: the warm start differs from the run's")
    if len(before["parts"]) != len(now["parts"]):
        raise TrainingError(
            f"--resume: the run was started with {len(before['parts'])} files, "
            f"found {len(now['parts'])}"
        )
    for old_part, new_part in zip(before["parts"], now["parts"], strict=True):
        old_data, new_data = old_part["data"], new_part["data"]
        if old_data["sha256"] != new_data["sha256"]:
            raise TrainingError(
                f"--resume: {new_data['name']} is not the file that the run was started with "
                f"(SHA-256 {new_data['sha256'][:12]}, the run has {old_data['sha256'][:12]})"
            )
        if old_data["synergies"] != new_data["synergies"]:
            raise TrainingError("--resume: --synergies differs from what the run was started with")
        if old_part["instrument"] != new_part["instrument"]:
            raise TrainingError("--resume: the instrument differs from the run's")
    # what settings were not there yet when the run was started had their defaults
    old = to_dict(config_of(before, "--resume: run.json"))
    new = now["config"]
    # training longer is what resuming is for, and the machine may be another one
    may_differ = {
        "iterations",
        "num_env_runners",
        "num_learners",
        "checkpoint_every",
        "checkpoint_episodes",
        "keep_checkpoints",
        "validation",
        "stop",
        "record_rollouts",
    }
    for section, settings in new.items():
        if not isinstance(settings, dict):  # the switch, which has one value
            continue
        for key, value in settings.items():
            if section == "training" and key in may_differ:
                continue
            if old[section][key] != value:
                raise TrainingError(
                    f"--resume: {section}.{key} is {value!r}, the run was started with "
                    f"{old[section][key]!r}"
                )

"""Train the three agents on files of bars and leave a run folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rllib_tactical.artifacts.folder_lock import locked_folder
from rllib_tactical.artifacts.run_folder import RUN_OUTPUT, RunFolder
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.rl.algorithm.precision import check_precision
from rllib_tactical.rl.run_description import check_resume, cpus_of, run_description
from rllib_tactical.rl.tracking.console import ConsoleLogger
from rllib_tactical.rl.tracking.defaults import run_folder_callbacks
from rllib_tactical.rl.tracking.mlflow import MlflowLogger
from rllib_tactical.rl.tracking.report import REPORT
from rllib_tactical.rl.training.callbacks import TrainingCallback
from rllib_tactical.rl.training.curriculum import check_new_run
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.rl.training.trainer import TrainingResult, run_training
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.runtime.ray_cluster import require_gpus, start_ray


def train(
    sources: Sequence[DataSource],
    out: Path | str,
    config: TacticalConfig | None = None,
    *,
    bar_seconds: int = BAR_SECONDS,
    resume: bool = False,
    max_seconds: float | None = None,
    log: Callable[[str], None] = print,
    mlflow: str | None = None,
    callbacks: Sequence[TrainingCallback] = (),
) -> TrainingResult:
    """Train on files of bars and leave a run folder that can be resumed and exported.

    Starts Ray on this machine, or joins the cluster that RAY_ADDRESS names.

    Args:
        sources: files of bars, one per instrument.
        out: the run folder.
        config: the whole configuration; None for the defaults.
        bar_seconds: length of a bar.
        resume: continue the run in ``out``.
        max_seconds: end this call's training after the iteration in which so much time has passed.
        log: prints a line.
        mlflow: tracking URI of an MLflow store that gets parameters, metrics and the report.
        callbacks: notified after the product's own loggers, in this order.

    Raises:
        TacticalError: bad data, a folder in use, a resume that does not fit, too few CPUs or GPUs.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was learned is in the newest checkpoint.
    """
    with locked_folder(Path(out)):
        return _train(
            [dataclasses.replace(source, path=Path(source.path)) for source in sources],
            RunFolder(Path(out)),
            config or TacticalConfig(),
            bar_seconds=bar_seconds,
            resume=resume,
            max_seconds=max_seconds,
            log=log,
            mlflow=mlflow,
            callbacks=callbacks,
        )


def _train(
    sources: list[DataSource],
    folder: RunFolder,
    config: TacticalConfig,
    *,
    bar_seconds: int,
    resume: bool,
    max_seconds: float | None,
    log: Callable[[str], None],
    mlflow: str | None,
    callbacks: Sequence[TrainingCallback],
) -> TrainingResult:
    limit_threads()
    if not resume:
        RUN_OUTPUT.require(folder.path)
    before = folder.read() if resume else {}
    start = time.monotonic()
    market = prepare_market(sources, config, bar_seconds)
    if not resume:
        check_new_run(config, market.standardization)
    # once there is a checkpoint its weights are in it, and their source may change or be gone
    known = before.get("warm_start") if folder.checkpoints() else None
    run = run_description(market, config, known)
    loggers = [] if mlflow is None else [MlflowLogger(mlflow, log)]
    check_precision(config.training, log)
    start_ray(cpus_of(config, len(sources)), log)
    require_gpus(config.training.learner_gpus, config.training.num_learners)
    if resume:
        check_resume(before, run)
        folder.set_config(run["config"], run["config_hash"])
    else:
        folder.start(run)
    for part in market.parts:
        log(part.read_as())
        log(part.summary())
    log(f"ready in {time.monotonic() - start:.1f} s")
    listeners = [*run_folder_callbacks(*loggers), ConsoleLogger(log), *callbacks]
    result = run_training(config, market, folder, listeners, max_seconds)
    log(
        f"trained {result.iterations} iterations, {result.env_steps:,} steps in "
        f"{result.seconds:.0f} s ({result.stopped}); checkpoint {result.last_checkpoint}"
    )
    log(f"report {folder.path / REPORT}")
    return result

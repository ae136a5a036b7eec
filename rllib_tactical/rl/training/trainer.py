"""Run a training: restore, iterate, end, and return the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.rl.training.callbacks import (
    CallbackList,
    TrainingCallback,
    TrainingRun,
    notified,
)
from rllib_tactical.rl.training.loop import TrainingLoop
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.stopping import StopRequest
from rllib_tactical.rl.training.validation import Validation


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended: its counts, the newest and the best checkpoint.

    ``stopped`` gives the reason; ``validation`` is that of the best checkpoint, which export takes;
    ``market``: the prepared bars and their splits.
    """

    iterations: int
    env_steps: int
    seconds: float
    validation: Validation | None
    last_checkpoint: Path
    best_checkpoint: Path
    stopped: str
    market: TrainingMarket


def run_training(
    config: TacticalConfig,
    market: TrainingMarket,
    folder: RunFolder,
    callbacks: Sequence[TrainingCallback],
    max_seconds: float | None = None,
) -> TrainingResult:
    """Train until ``config.training.iterations`` or a criterion of ``training.stop``; Ray must run.

    Training starts from the folder's newest checkpoint, or at the beginning where there is none.

    At every validation, and at the end, the actors trade the validation split by the serving rule.
    A checkpoint is written then and every ``checkpoint_every`` iterations. Ctrl-C and SIGTERM take
    effect after the running iteration, with a checkpoint; a second Ctrl-C stops at once and loses
    the iterations since the last one.

    On the local runner (``num_env_runners`` 0) a resumed run has the metrics that the
    uninterrupted one would have had, times aside.

    Args:
        config: the run's configuration.
        market: prepared bars.
        folder: where checkpoints go; started by the caller.
        callbacks: notified in this order; nothing else writes rows or reports.
        max_seconds: end after the iteration during which this much time has passed.

    Raises:
        TrainingError: training diverged, or no env runner delivered anything for too long.
        KeyboardInterrupt: stopped from outside; what was learned is in the newest checkpoint.
    """
    run = TrainingRun(folder, config, folder.start_point(), max_seconds)
    listeners = CallbackList(callbacks)
    with notified(run, listeners):
        loop = TrainingLoop(run, market, listeners)
        try:
            with StopRequest() as interrupt:
                reason = run.stop_reason = loop.iterate(interrupt)
        finally:
            loop.close()
        if interrupt.asked:
            raise KeyboardInterrupt
    last = folder.checkpoints()[-1]
    best = folder.best() or last
    validation = read_checkpoint(best).get("validation")
    return TrainingResult(
        iterations=loop.done,
        env_steps=loop.env_steps,
        seconds=loop.seconds,
        validation=None if validation is None else Validation.from_dict(validation),
        last_checkpoint=last,
        best_checkpoint=best,
        stopped=reason,
        market=market,
    )

"""The training loop: iterations of RLlib's algorithm with progress, validation and checkpoints."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.run_folder import (
    RLLIB,
    ROLLOUTS,
    RunFolder,
    read_checkpoint,
    read_weights,
)
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import DATA, StageConfig
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import actor_weights_of, restore, send_weights
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.tracking.report import write_training_report
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLog
from rllib_tactical.rl.training.curriculum import oracle_of, promoted, stage_market
from rllib_tactical.rl.training.iteration import next_result
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.metrics import (
    Row,
    RowWriter,
    broken_metrics,
    iteration_metrics,
    validation_metrics,
)
from rllib_tactical.rl.training.stopping import StopRequest, StopRules
from rllib_tactical.rl.training.validation import Validation
from rllib_tactical.rl.training.validator import Evaluator
from rllib_tactical.rl.training.warm_start import warm_start
from rllib_tactical.runtime.process import without_expected_noise

PROBE_TIMEOUT_S = 0.5
"""How long each iteration asks for lost env runners; RLlib's 30 s would be lost in every one."""

ALL_DONE = "all iterations are done"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended: its counts, the newest and the best checkpoint.

    ``stopped`` says why; ``validation`` is that of the best checkpoint, which export takes.
    """

    iterations: int
    env_steps: int
    seconds: float
    validation: Validation | None
    last_checkpoint: Path
    best_checkpoint: Path
    stopped: str = ALL_DONE


def run_training(
    config: TacticalConfig,
    market: TrainingMarket,
    folder: RunFolder,
    report: Callable[[Row], None],
    max_seconds: float | None = None,
    writers: Sequence[RowWriter] = (),
) -> TrainingResult:
    """Train until ``config.training.iterations`` or a criterion of ``training.stop``; Ray must run.

    Training goes on from the folder's newest checkpoint, or begins where there is none. Rows that
    an earlier process wrote after that point are dropped.

    At every evaluation, and at the end, the actors trade the validation split by the full serving
    rule; a checkpoint and the report are written then and every ``checkpoint_every`` iterations.
    Ctrl-C and SIGTERM are answered after the running iteration, with a checkpoint; a second Ctrl-C
    stops at once and loses the iterations since the last one.

    On the local runner (``num_env_runners`` 0) a resumed run has the metrics that the
    uninterrupted one would have had, times aside.

    Args:
        config: the run's configuration.
        market: prepared bars.
        folder: where results go; started by the caller.
        report: called with the metrics of every iteration, after its checkpoint.
        max_seconds: end after the iteration during which this much time has passed.
        writers: keep the metrics elsewhere than in the folder.

    Raises:
        TrainingError: training diverged, or no env runner delivered anything for too long.
        KeyboardInterrupt: stopped from outside; what was learnt is in the newest checkpoint.
    """
    loop = _Loop(config, market, folder)
    try:
        with StopRequest() as stop:
            reason = loop.run(report, stop, max_seconds, writers)
    finally:
        loop.close()
    if stop.asked:
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
    )


@dataclass
class _Standing:
    """Where a run stands besides its weights; written with every checkpoint as plain JSON.

    ``stage`` of the curriculum and the iteration after which it began; ``saved_episodes``: those
    that had ended at the newest checkpoint that was due; ``scheduled``: the stage's newest
    scheduled validation; ``latest``: the newest of all; ``pending``: the checkpoint that is being
    validated; ``stopped``: the criterion that ended the run.
    """

    stage: int = 0
    stage_began: int = 0
    saved_episodes: int = 0
    scheduled: dict[str, Any] | None = None
    latest: dict[str, Any] | None = None
    pending: int | None = None
    stopped: str | None = None


class _Loop:
    """A run in progress: the algorithm, its counts, and how its results are kept."""

    def __init__(self, config: TacticalConfig, market: TrainingMarket, folder: RunFolder) -> None:
        self._config, self._data, self._folder = config, market, folder
        self.done, self.env_steps, self._seconds_before = 0, 0, 0.0
        self._standing, self._rules = _Standing(), StopRules(config.training)
        self._start = folder.start_point()
        newest = self._start.checkpoint
        if newest is not None:
            self._take(read_checkpoint(newest))
        self._algorithm: Any = None
        self._judged = -1  # the iteration of the newest validation that this process has made
        self._enter_stage(newest)
        if self._standing.pending is not None:  # its result was lost with the process
            self._judge_again(self._standing.pending)
        warm = config.training.warm_start
        if newest is None and warm.path is not None:
            warm_start(self._algorithm, Path(warm.path), warm.layers)
            send_weights(self._algorithm)
        self._started = time.monotonic()
        self._tensorboard = TensorBoardLog(folder.path)

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    def close(self) -> None:
        """Release what is held."""
        self._tensorboard.close()
        self._algorithm.stop()

    def run(
        self,
        report: Callable[[Row], None],
        stop: StopRequest,
        max_seconds: float | None,
        elsewhere: Sequence[RowWriter],
    ) -> str:
        """Iterate until the configured number, a criterion, the time limit or a request to stop.

        Returns:
            Why it ended.
        """
        writers: list[RowWriter] = [self._folder, self._tensorboard, *elsewhere]
        for writer in writers:
            writer.drop_after(self._start)
        total = self._config.training.iterations
        reason = ALL_DONE if self.done >= total else None
        if reason is None and self._standing.stopped is not None:  # the criteria may be others now
            reason = self._rules.of_validation() or self._of_progress(self._monitor_says())
            self._standing.stopped = reason
        while reason is None:
            row = self._iterate(stop)
            if stop.asked:
                reason = "asked to stop"
            elif max_seconds is not None and self.seconds - self._seconds_before > max_seconds:
                reason = f"{max_seconds:,.0f} s have passed"
            elif self.done >= total:
                reason = ALL_DONE
            else:
                reason = self._standing.stopped = self._of_progress(row["converged"])
            scheduled = self._evaluation_is_scheduled(row)
            if scheduled or reason is not None:
                reason = self._evaluate(row, scheduled, reason)
            promoted = reason is None and self._promoted(scheduled)
            if promoted:
                self._collect(row, scheduled)
            row["total_seconds"] = self.seconds
            for writer in writers:
                writer.write_row(row)
            planned = promoted or scheduled or self._checkpoint_is_due(row)
            if planned:  # one more, because the run was interrupted, must not shift those to come
                self._standing.saved_episodes = row["episodes"]
            if promoted:
                self._next_stage(row)
            elif planned or reason is not None:
                self._checkpoint(row)
            report({**row, "of": None if max_seconds else total})
        return reason

    def _iterate(self, stop: StopRequest) -> Row:
        """Return the metrics of the next iteration."""
        if self._config.training.record_rollouts:
            self._algorithm.recorded_as = self.done + 1
        result, seconds = next_result(self._algorithm, self.done + 1, stop)
        self.done += 1
        row = iteration_metrics(result, self.done, seconds)
        row["env_runners"] = self._algorithm.env_runner_group.num_healthy_remote_env_runners()
        row["stage"] = self._standing.stage
        self.env_steps = row["env_steps"]
        broken = broken_metrics(row)
        if broken:
            raise TrainingError(
                f"training diverged in iteration {self.done}: {', '.join(broken)} is not finite; "
                "lower the learning rates and start again or --resume from the last checkpoint"
            )
        return row

    def _of_progress(self, converged: bool) -> str | None:
        """Return why the run is to end now, whatever validation says."""
        in_last_stage = self._stage is None or self._stage.market == DATA
        return self._rules.of_progress(
            converged=converged and in_last_stage, seconds=self.seconds, env_steps=self.env_steps
        )

    def _monitor_says(self) -> bool:
        converged: bool = self._algorithm.monitor.converged
        return converged

    def _checkpoint_is_due(self, row: Row) -> bool:
        training = self._config.training
        new = row["episodes"] - self._standing.saved_episodes
        return self.done % training.checkpoint_every == 0 or new >= training.checkpoint_episodes

    def _evaluation_is_scheduled(self, row: Row) -> bool:
        every = self._config.training.validation.every
        return self.done % every == 0 if every else self._checkpoint_is_due(row)

    def _evaluate(self, row: Row, scheduled: bool, reason: str | None) -> str | None:
        """Take the result of the evaluation that has begun before, and begin the next one.

        Decisions fall at scheduled evaluations only, so that they do not depend on when a run was
        interrupted. With workers the new result is waited for at the next one, or at the end.
        """
        self._collect(row, scheduled)
        if scheduled and reason is None:
            reason = self._standing.stopped = self._rules.of_validation()
        weights = actor_weights_of(self._algorithm)
        reward = self._algorithm.monitor.reward
        self._evaluator.start(self.done, self.env_steps, reward, weights)
        if reason is not None or not self._config.training.validation.workers:
            self._collect(row, scheduled)
            if scheduled and reason is None:
                reason = self._standing.stopped = self._rules.of_validation()
        return reason

    def _collect(self, row: Row, scheduled: bool) -> None:
        """Take a result that was begun; it counts for decisions if it was scheduled."""
        evaluated = self._evaluator.collect()
        if evaluated is None:
            return
        figures = evaluated.validation.as_dict()
        self._standing.latest = figures
        row |= validation_metrics(evaluated)
        self._folder.append_validation(
            {
                "iteration": evaluated.iteration,
                "env_steps": evaluated.env_steps,
                "known_at": self.done,
                **figures,
            }
        )
        self._judged = evaluated.iteration
        if evaluated.iteration != self.done:
            self._folder.add_validation(evaluated.iteration, figures)
        # only the last evaluation of a process is ever unscheduled, and it is not left pending
        if scheduled or evaluated.iteration != self.done:
            self._standing.scheduled = figures
            if self._stage is None or self._stage.market == DATA:
                self._rules.take(figures)

    def _promoted(self, scheduled: bool) -> bool:
        if self._stage is None:
            return False
        return promoted(
            self._stage,
            self.done - self._standing.stage_began,
            self._algorithm.monitor.reward,
            self._standing.scheduled if scheduled else None,
        )

    def _next_stage(self, row: Row) -> None:
        """Go on in the next stage exactly as a resumed run would: from a checkpoint."""
        self._standing.stage += 1
        self._standing.stage_began, self._standing.scheduled = self.done, None
        self._enter_stage(self._checkpoint(row))

    def _enter_stage(self, checkpoint: Path | None) -> None:
        """Build the algorithm on the stage's market; go on from a checkpoint if there is one."""
        config, standing = self._config, self._standing
        stages = config.training.curriculum
        self._stage: StageConfig | None = stages[standing.stage] if stages else None
        market = self._data
        if self._stage is not None and self._stage.market != DATA:
            market = stage_market(self._stage, config, self._data.standardization)
        if self._algorithm is not None:
            self._algorithm.stop()
        record = config.training.record_rollouts
        with without_expected_noise():
            # remote runners of a resumed run go on with other draws than those they began with
            self._algorithm = (
                build_config(
                    config,
                    MarketHandle(market.spec),
                    market.standardization,
                    resumed_at=self.done,
                    stage=standing.stage,
                    record_to=self._folder.path.absolute() / ROLLOUTS if record else None,
                )
                .fault_tolerance(env_runner_health_probe_timeout_s=PROBE_TIMEOUT_S)
                .build_algo()
            )
        if checkpoint is not None:
            restore(self._algorithm, checkpoint / RLLIB)
            if standing.stage and standing.stage_began == self.done:
                self._algorithm.monitor.clear()  # rewards of another market say nothing here
        self._evaluator = Evaluator(config, market, standing.stage, oracle_of(self._stage))

    def _checkpoint(self, row: Row) -> Path:
        standing = self._standing
        standing.pending = self._evaluator.pending
        state = {
            "seconds": self.seconds,
            "env_steps": self.env_steps,
            "reward": self._algorithm.monitor.reward,
            "validation": standing.latest if self._judged == self.done else None,
            "standing": dataclasses.asdict(standing),
            "stop_rules": self._rules.get_state(),
        }
        path = self._folder.save(
            self.done,
            actor_weights_of(self._algorithm),
            state,
            self._algorithm.save_to_path,
            self._config.training.keep_checkpoints,
            standing.pending,
        )
        write_training_report(self._folder)
        return path

    def _take(self, state: dict[str, Any]) -> None:
        """Stand where a checkpoint was written."""
        self.done, self.env_steps = int(state["iteration"]), int(state["env_steps"])
        self._seconds_before = float(state["seconds"])
        self._standing = _Standing(**state.get("standing", {"latest": state["validation"]}))
        if "stop_rules" in state:
            self._rules.set_state(state["stop_rules"])

    def _judge_again(self, iteration: int) -> None:
        path = self._folder.checkpoint(iteration)
        if path.is_dir():
            state = read_checkpoint(path)
            self._evaluator.start(
                iteration, int(state["env_steps"]), state["reward"], read_weights(path)
            )

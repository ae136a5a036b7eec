"""The training loop: iterations of RLlib's algorithm with validation, stages and checkpoints."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.run_folder import RLLIB, ROLLOUTS, read_checkpoint, read_weights
from rllib_tactical.config.curriculum import DATA, StageConfig
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import actor_weights_of, send_weights
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun
from rllib_tactical.rl.training.curriculum import oracle_of, promoted, stage_market
from rllib_tactical.rl.training.iteration import next_result
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.metrics import broken_metrics, iteration_metrics, validation_metrics
from rllib_tactical.rl.training.stopping import StopRequest, StopRules
from rllib_tactical.rl.training.validator import Validator
from rllib_tactical.rl.training.warm_start import warm_start
from rllib_tactical.runtime.process import without_expected_noise

PROBE_TIMEOUT_S: Final = 0.5
"""How long each iteration asks for lost env runners; RLlib's 30 s would be lost in every one."""

ALL_DONE: Final = "all iterations are done"


@dataclass
class LoopState:
    """Where a run is besides its weights; written with every checkpoint as plain JSON.

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


class TrainingLoop:
    """A run in progress: the algorithm, its counts, and the decisions after every iteration.

    Args:
        run: what to train and where it starts.
        market: prepared bars.
        callbacks: notified of validations, iterations and checkpoints.
    """

    def __init__(
        self, run: TrainingRun, market: TrainingMarket, callbacks: TrainingCallback
    ) -> None:
        self._run, self._config, self._folder = run, run.config, run.folder
        self._data, self._callbacks = market, callbacks
        self.done, self.env_steps, self._seconds_before = 0, 0, 0.0
        self._state, self._rules = LoopState(), StopRules(run.config.training)
        newest = run.start.checkpoint
        if newest is not None:
            self._restore(read_checkpoint(newest))
        self._algorithm: Any = None
        self._validated = -1  # the iteration of the newest validation that this process has made
        self._enter_stage(newest)
        if self._state.pending is not None:  # its result was lost with the process
            self._validate_again(self._state.pending)
        warm = self._config.training.warm_start
        if newest is None and warm.path is not None:
            warm_start(self._algorithm, Path(warm.path), warm.layers, self._config.model.network)
            send_weights(self._algorithm)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    def close(self) -> None:
        """Release the algorithm and its workers."""
        self._algorithm.stop()

    def iterate(self, interrupt: StopRequest) -> str:
        """Iterate until the configured number, a criterion, the time limit or a request to stop.

        Returns:
            Why it ended.
        """
        reason = ALL_DONE if self.done >= self._config.training.iterations else None
        if reason is None and self._state.stopped is not None:  # the criteria may be others now
            reason = self._rules.of_validation() or self._of_progress(self._has_converged())
            self._state.stopped = reason
        while reason is None:
            row = self._next_row(interrupt)
            reason = self._reason_to_end(row, interrupt)
            scheduled = self._validation_is_scheduled(row)
            if scheduled or reason is not None:
                reason = self._validate(row, scheduled, reason)
            promoted = reason is None and self._is_promoted(scheduled)
            if promoted:
                self._collect(row, scheduled)
            row["total_seconds"] = self.seconds
            self._callbacks.on_iteration(self._run, row)
            if reason is None and not promoted and self._run.stop_reason is not None:
                reason = self._run.stop_reason
                self._complete_validation(scheduled)
            planned = promoted or scheduled or self._checkpoint_is_due(row)
            if planned:  # one more, because the run was interrupted, must not shift those to come
                self._state.saved_episodes = row["episodes"]
            if promoted:
                self._next_stage()
            elif planned or reason is not None:
                self._checkpoint()
            reason = reason or self._run.stop_reason
        return reason

    def _next_row(self, interrupt: StopRequest) -> Row:
        """Return the metrics of the next iteration."""
        if self._config.training.record_rollouts:
            self._algorithm.recorded_as = self.done + 1
        result, seconds = next_result(self._algorithm, self.done + 1, interrupt)
        self.done += 1
        row = iteration_metrics(result, self.done, seconds)
        row["env_runners"] = self._algorithm.env_runner_group.num_healthy_remote_env_runners()
        row["stage"] = self._state.stage
        self.env_steps = row["env_steps"]
        broken = broken_metrics(row)
        if broken:
            raise TrainingError(
                f"training diverged in iteration {self.done}: {', '.join(broken)} is not finite; "
                "lower the learning rates and start again or --resume from the last checkpoint"
            )
        return row

    def _reason_to_end(self, row: Row, interrupt: StopRequest) -> str | None:
        """Return why the run ends with this iteration, before it is validated."""
        limit = self._run.max_seconds
        if interrupt.asked:
            return "asked to stop"
        if limit is not None and self.seconds - self._seconds_before > limit:
            return f"{limit:,.0f} s have passed"
        if self.done >= self._config.training.iterations:
            return ALL_DONE
        self._state.stopped = self._of_progress(row["converged"])
        return self._state.stopped

    def _of_progress(self, converged: bool) -> str | None:
        """Return why the run is to end now, whatever validation gives."""
        in_last_stage = self._stage is None or self._stage.market == DATA
        return self._rules.of_progress(
            converged=converged and in_last_stage, seconds=self.seconds, env_steps=self.env_steps
        )

    def _has_converged(self) -> bool:
        converged: bool = self._algorithm.monitor.converged
        return converged

    def _checkpoint_is_due(self, row: Row) -> bool:
        training = self._config.training
        new = row["episodes"] - self._state.saved_episodes
        return self.done % training.checkpoint_every == 0 or new >= training.checkpoint_episodes

    def _validation_is_scheduled(self, row: Row) -> bool:
        every = self._config.training.validation.every
        return self.done % every == 0 if every else self._checkpoint_is_due(row)

    def _validate(self, row: Row, scheduled: bool, reason: str | None) -> str | None:
        """Take the result of the validation before, start the next one, return why the run ends.

        Decisions fall at scheduled validations only, so that they do not depend on when a run was
        interrupted. With workers the new result is waited for at the next one, or at the end.
        """
        reason = self._collect_and_decide(row, scheduled, reason)
        weights = actor_weights_of(self._algorithm)
        reward = self._algorithm.monitor.reward
        self._validator.start(self.done, self.env_steps, reward, weights)
        if reason is not None or not self._config.training.validation.workers:
            reason = self._collect_and_decide(row, scheduled, reason)
        return reason

    def _complete_validation(self, scheduled: bool) -> None:
        """Have this iteration validated, after its row was written."""
        if self._validator.pending == self.done:
            self._collect({}, scheduled)
        elif self._validated != self.done:
            self._validate({}, scheduled, self._run.stop_reason)

    def _collect_and_decide(self, row: Row, scheduled: bool, reason: str | None) -> str | None:
        self._collect(row, scheduled)
        reason = reason or self._run.stop_reason
        if scheduled and reason is None:
            reason = self._state.stopped = self._rules.of_validation()
        return reason

    def _collect(self, row: Row, scheduled: bool) -> None:
        """Take the result of a validation that was started into the row.

        It counts for decisions if it was scheduled.
        """
        result = self._validator.collect()
        if result is None:
            return
        metrics = result.validation.as_dict()
        self._state.latest = metrics
        row |= validation_metrics(result)
        known = {
            "iteration": result.iteration,
            "env_steps": result.env_steps,
            "known_at": self.done,
        }
        self._callbacks.on_validation(self._run, known | metrics)
        self._validated = result.iteration
        if result.iteration != self.done:
            self._folder.add_validation(result.iteration, metrics)
        # only the last validation of a process is ever unscheduled, and it is not left pending
        if scheduled or result.iteration != self.done:
            self._state.scheduled = metrics
            if self._stage is None or self._stage.market == DATA:
                self._rules.take(metrics)

    def _is_promoted(self, scheduled: bool) -> bool:
        if self._stage is None:
            return False
        return promoted(
            self._stage,
            self.done - self._state.stage_began,
            self._algorithm.monitor.reward,
            self._state.scheduled if scheduled else None,
        )

    def _next_stage(self) -> None:
        """Enter the next stage exactly as a resumed run would: from a checkpoint."""
        self._state.stage += 1
        self._state.stage_began, self._state.scheduled = self.done, None
        self._enter_stage(self._checkpoint())

    def _enter_stage(self, checkpoint: Path | None) -> None:
        """Build the algorithm on the stage's market; restore a checkpoint if there is one."""
        config, state = self._config, self._state
        stages = config.training.curriculum
        self._stage: StageConfig | None = stages[state.stage] if stages else None
        market = self._data
        if self._stage is not None and self._stage.market != DATA:
            market = stage_market(self._stage, config, self._data.standardization)
        if self._algorithm is not None:
            self._algorithm.stop()
        record = config.training.record_rollouts
        with without_expected_noise():
            # remote runners of a resumed run continue with other draws than they started with
            self._algorithm = (
                build_config(
                    config,
                    market.handle(),
                    market.standardization,
                    resumed_at=self.done,
                    stage=state.stage,
                    record_to=self._folder.path.absolute() / ROLLOUTS if record else None,
                )
                .fault_tolerance(env_runner_health_probe_timeout_s=PROBE_TIMEOUT_S)
                .build_algo()
            )
        if checkpoint is not None:
            self._algorithm.restore_from_path(str(checkpoint.absolute() / RLLIB))
            if state.stage and state.stage_began == self.done:
                self._algorithm.monitor.clear()  # rewards of another market mean nothing here
        self._validator = Validator(config, market, state.stage, oracle_of(self._stage))

    def _checkpoint(self) -> Path:
        self._state.pending = self._validator.pending
        state = {
            "seconds": self.seconds,
            "env_steps": self.env_steps,
            "ahead": self._config.training.overlap,
            "reward": self._algorithm.monitor.reward,
            "validation": self._state.latest if self._validated == self.done else None,
            "standing": dataclasses.asdict(self._state),
            "stop_rules": self._rules.get_state(),
        }
        path = self._folder.save(
            self.done,
            actor_weights_of(self._algorithm),
            state,
            self._algorithm.save_to_path,
            self._config.training.keep_checkpoints,
            self._state.pending,
        )
        self._callbacks.on_checkpoint(self._run, path)
        return path

    def _restore(self, state: dict[str, Any]) -> None:
        """Continue where a checkpoint was written."""
        self.done, self.env_steps = int(state["iteration"]), int(state["env_steps"])
        self._seconds_before = float(state["seconds"])
        self._state = LoopState(**state.get("standing", {"latest": state["validation"]}))
        if "stop_rules" in state:
            self._rules.set_state(state["stop_rules"])

    def _validate_again(self, iteration: int) -> None:
        path = self._folder.checkpoint(iteration)
        if path.is_dir():
            state = read_checkpoint(path)
            self._validator.start(
                iteration, int(state["env_steps"]), state["reward"], read_weights(path)
            )

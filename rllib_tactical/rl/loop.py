"""The training loop: iterations of RLlib's algorithm with progress, validation and checkpoints."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.exceptions import RayActorError, RayError
from ray.rllib.core import COMPONENT_RL_MODULE

from rllib_tactical.config import TacticalConfig
from rllib_tactical.domain.types import AGENTS, Float32Array
from rllib_tactical.errors import TrainingError
from rllib_tactical.inference import TorchEngine
from rllib_tactical.process import without_expected_noise
from rllib_tactical.rl.algorithm import build_config
from rllib_tactical.rl.market_handle import MarketHandle
from rllib_tactical.rl.modules import CRITIC
from rllib_tactical.rl.prepare import TrainingMarket
from rllib_tactical.rl.run_folder import RLLIB, RunFolder, read_checkpoint
from rllib_tactical.rl.validate import Validation, validate

Row = dict[str, Any]

RUNNER_TIMEOUT_S = 300.0
"""How long training waits for lost env runners to come back."""

PROBE_TIMEOUT_S = 0.5
"""How long each iteration asks for lost env runners; RLlib's 30 s would be lost in every one."""

LEARNER_TIMEOUT_S = 10.0
"""How long a learner is given to show that it is alive after an update has failed."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended: its last metrics, validation and the newest and best checkpoints."""

    iterations: int
    env_steps: int
    seconds: float
    validation: Validation | None
    last_checkpoint: Path
    best_checkpoint: Path


def run_training(
    config: TacticalConfig,
    market: TrainingMarket,
    folder: RunFolder,
    report: Callable[[Row], None],
    resume: bool = False,
    max_seconds: float | None = None,
) -> TrainingResult:
    """Train until ``config.training.iterations``; Ray must be running.

    Every ``checkpoint_every`` iterations, and at the end, the actors trade the validation split by
    the full serving rule and a checkpoint is written. Ctrl-C and SIGTERM are answered after the
    running iteration, with a checkpoint; a second Ctrl-C stops at once and loses the iterations
    since the last one.

    Args:
        config: the run's configuration.
        market: prepared bars.
        folder: where results go; started by the caller.
        report: called with the metrics of every iteration.
        resume: continue from the newest checkpoint, if there is one.
        max_seconds: end after the iteration during which this much time has passed.

    Raises:
        TrainingError: training diverged, or no env runner delivered anything for too long.
        KeyboardInterrupt: stopped from outside; what was learnt is in the newest checkpoint.
    """
    loop = _Loop(config, market, folder, resume)
    try:
        with _StopRequest() as stop:
            loop.run(report, stop, max_seconds)
    finally:
        loop.close()
    if stop.asked:
        raise KeyboardInterrupt
    last = folder.checkpoints()[-1]
    return TrainingResult(
        iterations=loop.done,
        env_steps=loop.env_steps,
        seconds=loop.seconds,
        validation=loop.validation,
        last_checkpoint=last,
        best_checkpoint=folder.best() or last,
    )


class _StopRequest:
    """Turns the first SIGINT or SIGTERM into a flag, so that an iteration is never cut in half."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


class _Loop:
    """A run in progress: the algorithm, its counts, and how its results are kept."""

    def __init__(
        self, config: TacticalConfig, market: TrainingMarket, folder: RunFolder, resume: bool
    ) -> None:
        from tensorboardX import SummaryWriter

        self._config, self._market, self._folder = config, market, folder
        self.done, self.env_steps, self._seconds_before = 0, 0, 0.0
        self.validation: Validation | None = None
        newest = folder.checkpoints()[-1] if resume and folder.checkpoints() else None
        if newest is not None:
            state = read_checkpoint(newest)
            self.done, self.env_steps = int(state["iteration"]), int(state["env_steps"])
            self._seconds_before = float(state["seconds"])
            if state["validation"] is not None:
                self.validation = Validation.from_dict(state["validation"])
        handle = MarketHandle(market.spec)
        with without_expected_noise():
            # a resumed run goes on with other draws than those it began with
            self._algorithm = (
                build_config(config, handle, market.standardisation, resumed_at=self.done)
                .fault_tolerance(env_runner_health_probe_timeout_s=PROBE_TIMEOUT_S)
                .build_algo()
            )
        if newest is not None:
            restore(self._algorithm, newest / RLLIB)
        if resume:
            folder.drop_progress_after(self.done)
        self._started = time.monotonic()
        self._writer = SummaryWriter(str(folder.path), max_queue=1, flush_secs=10)

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    def close(self) -> None:
        """Release what is held."""
        self._writer.close()
        self._algorithm.stop()

    def run(
        self, report: Callable[[Row], None], stop: _StopRequest, max_seconds: float | None
    ) -> None:
        """Iterate until the configured number, the time limit or a request to stop."""
        training = self._config.training
        ended = self.done >= training.iterations
        while not ended:
            row = self._iterate(stop)
            late = max_seconds is not None and self.seconds - self._seconds_before > max_seconds
            ended = self.done >= training.iterations or late or stop.asked
            if self.done % training.checkpoint_every == 0 or ended:
                self._checkpoint()
                if self.validation is not None:
                    row["validation_net_pnl"] = self.validation.net_pnl
                    row["validation_trades"] = self.validation.trades
                    row["temperature_scale"] = self.validation.temperature_scale
            row["total_seconds"] = self.seconds
            self._folder.append_progress(row)
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"tactical/{name}", value, row["env_steps"])
            report({**row, "of": None if max_seconds else training.iterations})

    def _iterate(self, stop: _StopRequest) -> Row:
        """Return the metrics of the next iteration that sampled anything.

        When every env runner is lost RLlib returns an iteration without steps and restarts them.
        """
        deadline = time.monotonic() + RUNNER_TIMEOUT_S
        while True:
            begun = time.monotonic()
            result = self._train()
            if result["env_runners"].get("num_env_steps_sampled", 0) > 0:
                break
            if stop.asked or time.monotonic() > deadline:
                raise TrainingError(
                    f"no env runner delivered a step for {RUNNER_TIMEOUT_S:.0f} s; "
                    "continue with --resume when the cluster is well"
                )
            time.sleep(1.0)
        self.done += 1
        row = iteration_metrics(result, self.done, time.monotonic() - begun)
        row["env_runners"] = self._algorithm.env_runner_group.num_healthy_remote_env_runners()
        self.env_steps = row["env_steps"]
        broken = sorted(
            name
            for name, value in row.items()
            if isinstance(value, float) and not math.isfinite(value)
        )
        if broken:
            raise TrainingError(
                f"training diverged in iteration {self.done}: {', '.join(broken)} is not finite; "
                "lower the learning rates and start again or --resume from the last checkpoint"
            )
        return row

    def _train(self) -> Row:
        """Return RLlib's result of one iteration; a lost learner becomes an error of ours."""
        try:
            result: Row = self._algorithm.train()
        except RayError as error:
            if not self._learner_lost(error):
                raise
            raise TrainingError(
                f"a learner was lost in iteration {self.done + 1}, and what it learnt since the "
                "last checkpoint with it; continue with --resume when the cluster is well"
            ) from error
        return result

    def _learner_lost(self, error: RayError) -> bool:
        """Whether a learner is gone. The others may fail first, in their exchange with it."""
        group = self._algorithm.learner_group
        if group.is_local:
            return False
        if isinstance(error, RayActorError):
            return True
        answers = group.foreach_learner(
            lambda learner: None, healthy_only=False, timeout_seconds=LEARNER_TIMEOUT_S
        )
        return sum(bool(answer.ok) for answer in answers) < len(group)

    def _checkpoint(self) -> None:
        weights = actor_weights_of(self._algorithm)
        self.validation = _validate(weights, self._config, self._market)
        state = {
            "seconds": self.seconds,
            "env_steps": self.env_steps,
            "validation": self.validation.as_dict() if self.validation else None,
        }
        keep = self._config.training.keep_checkpoints
        self._folder.save(self.done, weights, state, self._algorithm.save_to_path, keep)


def restore(algorithm: Any, checkpoint: Path) -> None:
    """Put a checkpoint's state into an algorithm built from the same configuration.

    RLlib restores remote env runners from the driver's own, idle one, whose weights are those of
    the first iteration, and from the learner, in no fixed order. So the learner's weights are sent
    once more, unconditionally, and waited for.
    """
    algorithm.restore_from_path(str(checkpoint.absolute()))
    weights = algorithm.learner_group.get_weights(module_ids=list(AGENTS))
    state = {COMPONENT_RL_MODULE: {agent: weights[agent] for agent in AGENTS}}
    algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.set_state(state))


def iteration_metrics(result: Row, iteration: int, seconds: float) -> Row:
    """Return the flat metrics of one iteration from RLlib's result.

    Rewards are mean episode returns, None where no episode ended; P&L, costs (dollars) and
    trades are sums over the iteration's steps by the training rule.
    """
    runners, learners = result["env_runners"], result["learners"]
    trading = runners.get("trading", {})
    steps = int(runners["num_env_steps_sampled"])
    returns = runners.get("agent_episode_returns_mean", {})
    ended = {agent: float(returns[agent]) for agent in AGENTS if agent in returns}
    bonus, base = float(trading.get("bonus", 0.0)), float(trading.get("base", 0.0))
    row: Row = {
        "iteration": iteration,
        "env_steps": int(runners["num_env_steps_sampled_lifetime"]),
        "seconds": seconds,
        "steps_per_s": steps / seconds,
        "pnl": float(trading.get("pnl", 0.0)),
        "costs": float(trading.get("costs", 0.0)),
        "trades": int(trading.get("trades", 0)),
        "wins": int(trading.get("wins", 0)),
        "bonus_share": bonus / (bonus + base) if bonus + base else 0.0,
        "value_loss": float(learners[CRITIC]["vf_loss"]),
        "value_explained_variance": float(learners[CRITIC]["vf_explained_var"]),
    }
    for agent in AGENTS:
        learner = learners[agent]
        reward = ended.get(agent, math.nan)  # no episode may have ended in the iteration
        row[f"reward_{agent}"] = reward if math.isfinite(reward) else None
        row[f"entropy_{agent}"] = float(learner["entropy"])
        row[f"policy_loss_{agent}"] = float(learner["policy_loss"])
        row[f"kl_{agent}"] = float(learner["approximate_kl"])
        row[f"clip_fraction_{agent}"] = float(learner["clip_fraction"])
    return row


def actor_weights_of(algorithm: Any) -> dict[str, Float32Array]:
    """Return the learner's actor weights named ``agent.parameter``, float32."""
    state = algorithm.learner_group.get_weights(module_ids=list(AGENTS))
    prefix = "actor."
    return {
        f"{agent}.{name.removeprefix(prefix)}": np.asarray(value, dtype=np.float32)
        for agent in AGENTS
        for name, value in state[agent].items()
        if name.startswith(prefix)
    }


def _validate(
    weights: dict[str, Float32Array], config: TacticalConfig, market: TrainingMarket
) -> Validation | None:
    parts = [(part.tape, part.splits[1]) for part in market.parts]
    if any(split.stop <= split.start for _, split in parts):
        return None
    return validate(
        TorchEngine(weights),
        parts,
        config.rules,
        config.training.temperature_scales,
        config.training.train_confidence,
    )

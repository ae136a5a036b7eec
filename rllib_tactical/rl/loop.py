"""The training loop: iterations of RLlib's algorithm with progress, validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rllib_tactical.config import TacticalConfig
from rllib_tactical.domain.types import AGENTS, Float32Array
from rllib_tactical.inference import TorchEngine
from rllib_tactical.process import without_expected_noise
from rllib_tactical.rl.algorithm import build_config
from rllib_tactical.rl.market_handle import MarketHandle
from rllib_tactical.rl.modules import CRITIC
from rllib_tactical.rl.prepare import TrainingMarket
from rllib_tactical.rl.run_folder import RLLIB, RunFolder, read_checkpoint
from rllib_tactical.rl.validate import Validation, validate

Row = dict[str, Any]


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
    the full serving rule and a checkpoint is written. An interrupt (Ctrl-C) writes one as well.

    Args:
        config: the run's configuration.
        market: prepared bars.
        folder: where results go; started by the caller.
        report: called with the metrics of every iteration.
        resume: continue from the newest checkpoint, if there is one.
        max_seconds: end after the iteration during which this much time has passed.
    """
    from tensorboardX import SummaryWriter

    handle = MarketHandle(market.spec)
    with without_expected_noise():
        algorithm = build_config(config, handle, market.standardisation).build_algo()
    total, every = config.training.iterations, config.training.checkpoint_every
    done, started = 0, time.monotonic()
    seconds_before, validation = 0.0, None
    env_steps = 0
    if resume and folder.checkpoints():
        newest = folder.checkpoints()[-1]
        algorithm.restore_from_path(str(newest.absolute() / RLLIB))
        state = read_checkpoint(newest)
        done, seconds_before = int(state["iteration"]), float(state["seconds"])
        env_steps = int(state["env_steps"])
        folder.drop_progress_after(done)
    writer = SummaryWriter(str(folder.path), max_queue=1, flush_secs=10)

    def checkpoint(iteration: int) -> Validation | None:
        weights = actor_weights_of(algorithm)
        found = _validate(weights, config, market)
        state = {
            "seconds": seconds_before + time.monotonic() - started,
            "env_steps": env_steps,
            "validation": found.as_dict() if found else None,
        }
        folder.save(
            iteration, weights, state, algorithm.save_to_path, config.training.keep_checkpoints
        )
        return found

    try:
        while done < total:
            begun = time.monotonic()
            result = algorithm.train()
            done += 1
            row = iteration_metrics(result, done, time.monotonic() - begun)
            env_steps = row["env_steps"]
            timed_out = max_seconds is not None and time.monotonic() - started > max_seconds
            if timed_out:
                total = done
            if done % every == 0 or done == total:
                validation = checkpoint(done)
                if validation is not None:
                    row["validation_net_pnl"] = validation.net_pnl
                    row["validation_trades"] = validation.trades
                    row["temperature_scale"] = validation.temperature_scale
            row["total_seconds"] = seconds_before + time.monotonic() - started
            folder.append_progress(row)
            for name, value in row.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    writer.add_scalar(f"tactical/{name}", value, row["env_steps"])
            report({**row, "of": None if max_seconds else total})
        if not folder.checkpoints():
            checkpoint(done)
    except KeyboardInterrupt:
        if done:
            checkpoint(done)
        raise
    finally:
        writer.close()
        algorithm.stop()
    last = folder.checkpoints()[-1]
    return TrainingResult(
        iterations=done,
        env_steps=env_steps,
        seconds=seconds_before + time.monotonic() - started,
        validation=validation,
        last_checkpoint=last,
        best_checkpoint=folder.best() or last,
    )


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

"""One flat row of metrics per iteration, from RLlib's nested results."""

from __future__ import annotations

import math

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.names import CRITIC, MONITOR, OUTCOME_LOSS
from rllib_tactical.rl.training.callbacks import Row
from rllib_tactical.rl.training.validator import ValidationResult


def iteration_metrics(result: Row, iteration: int, seconds: float) -> Row:
    """Return the flat metrics of one iteration from RLlib's result.

    Rewards are mean episode returns and ``episode_length`` mean bars, None where no episode ended;
    P&L, costs (dollars) and trades are sums over the iteration's steps by the training rule. What
    ``Monitor.update`` returns is in it.
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
        "episode_length": _number(runners.get("episode_len_mean")),
        "bonus_share": bonus / (bonus + base) if bonus + base else 0.0,
        "value_loss": float(learners[CRITIC]["vf_loss"]),
        "value_explained_variance": float(learners[CRITIC]["vf_explained_var"]),
    }
    for agent in AGENTS:
        learner = learners[agent]
        row[f"reward_{agent}"] = _number(ended.get(agent))
        row[f"entropy_{agent}"] = float(learner["entropy"])
        row[f"policy_loss_{agent}"] = float(learner["policy_loss"])
        row[f"kl_{agent}"] = float(learner["approximate_kl"])
        row[f"clip_fraction_{agent}"] = float(learner["clip_fraction"])
        if OUTCOME_LOSS in learner:
            row[f"{OUTCOME_LOSS}_{agent}"] = float(learner[OUTCOME_LOSS])
    monitored: Row = result.get(MONITOR, {})
    return row | monitored


def _number(value: float | None) -> float | None:
    """Return a mean, None where no episode ended in the iteration."""
    return None if value is None or not math.isfinite(value) else float(value)


def validation_metrics(result: ValidationResult) -> Row:
    """Return the flat metrics of a validation, with the iteration and steps of its weights."""
    validation = result.validation
    return {
        "validation_iteration": result.iteration,
        "validation_env_steps": result.env_steps,
        "validation_net_pnl": validation.net_pnl,
        "validation_sharpe": validation.sharpe,
        "validation_trades": validation.trades,
        "validation_win_rate": validation.win_rate,
        "validation_trades_per_day": validation.trades_per_day,
        "validation_training_rule_trades": validation.training_rule_trades,
        "validation_oracle_share": validation.oracle_share,
        "temperature_scale": validation.temperature_scale,
    }


def broken_metrics(row: Row) -> list[str]:
    """Return the names of metrics that are not finite: training has diverged."""
    return sorted(
        name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)
    )

"""Evaluate actors on a synthetic market by the serving rule, at equal position size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.shapley import agent_values
from rllib_tactical.bundle.inference import LogitsEngine, logits_of
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.actions import EXECUTE
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, greedy_votes, softmax
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, FloatArray
from rllib_tactical.rl.training.validation import Validation, best_scale, equal_size
from rllib_tactical.synthetic import SyntheticMarket
from rllib_tactical.synthetic.dynamic import market_oracle

NEUTRAL: Final = {"fvg": 1, "momentum": 1, "entry": EXECUTE}
"""Votes that change nothing: hold, neutral, and an entry agent that executes every trade."""


@dataclass(frozen=True, slots=True)
class Performance:
    """Results per session: net dollars and their standard error, trades, costs in dollars.

    ``win_rate``: share of profitable trades, None without a trade.
    """

    net: float
    error: float
    trades: float
    costs: float
    sessions: int
    win_rate: float | None

    def document(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def trade_votes(
    history: MarketHistory, votes: Votes, rules: Rules, start: int, stop: int
) -> Performance:
    """Trade votes (K, 3) of the bars ``start`` <= t < ``stop`` at equal size."""
    return performance_of([run_backtest(history, votes, equal_size(rules), start, stop)])


def performance_of(results: Sequence[BacktestResult]) -> Performance:
    """Return the performance of instruments together that were traded on the same bars."""
    history, start, stop = results[0].history, results[0].start, results[0].stop
    equity = sum(result.equity["equity"].to_numpy() for result in results)
    last = np.flatnonzero(history.sessions.is_last[start:stop])
    pnl = np.diff(np.asarray(equity)[last])  # whole sessions; the account is flat between them
    count = max(1, len(pnl))
    sessions = (stop - start) / _session_bars(history)
    trades = pd.concat([result.trades for result in results])
    return Performance(
        net=float(sum(result.net_pnl for result in results) / sessions),
        error=float(pnl.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        trades=len(trades) / sessions,
        costs=float(trades["costs"].sum()) / sessions,
        sessions=len(pnl),
        win_rate=float((trades["pnl"] > 0).mean()) if len(trades) else None,
    )


def oracle(market: SyntheticMarket, history: MarketHistory, start: int, stop: int) -> Performance:
    """Return the performance of the rule that knows the planted edge."""
    votes = market_oracle(market, history).take(slice(start, stop))
    return trade_votes(history, votes, Rules(), start, stop)


def logits_between(
    engine: LogitsEngine, history: MarketHistory, start: int, stop: int
) -> FloatArray:
    """Return the actors' logits (K, 3, 3) at the closes of ``start`` <= t < ``stop``."""
    return logits_of(engine, history.inputs, np.arange(start, stop))


def serving_votes(found: FloatArray, scale: float) -> Votes:
    """Return greedy votes with the confidences that a temperature scale gives."""
    return greedy_votes(softmax(found, scale))


def without(votes: Votes, agent: str) -> Votes:
    """Return the votes with one agent's replaced by a neutral one of confidence 1."""
    index, confidence = votes.index.copy(), votes.confidence.copy()
    column = AGENTS.index(agent)
    index[:, column], confidence[:, column] = NEUTRAL[agent], 1.0
    return Votes(index, confidence)


def scale_without(
    config: TacticalConfig,
    history: MarketHistory,
    found: FloatArray,
    start: int,
    stop: int,
    agent: str,
) -> float:
    """Return the temperature scale that is best for the votes without one agent's, at equal size.

    A neutral vote adds no confidence to a trade, so the other two need more to reach the threshold;
    the scale chosen for all three agents would keep them from trades that they could make. The rule
    is that of the whole policy.
    """
    scales = config.training.temperature_scales
    played = [
        trade_votes(history, without(serving_votes(found, scale), agent), config.rules, start, stop)
        for scale in scales
    ]
    return scales[
        best_scale(
            [each.net for each in played],
            [each.error for each in played],
            [each.trades for each in played],
        )
    ]


def evaluated_without(
    config: TacticalConfig,
    history: MarketHistory,
    found: FloatArray,
    start: int,
    stop: int,
    scales: dict[str, float],
) -> dict[str, Any]:
    """Return the scale and the performance of the votes without each agent of ``scales``."""
    return {
        agent: {
            "scale": scale,
            "figures": trade_votes(
                history, without(serving_votes(found, scale), agent), config.rules, start, stop
            ).document(),
        }
        for agent, scale in scales.items()
    }


def preference_margins(
    market: SyntheticMarket, history: MarketHistory, found: FloatArray, start: int, stop: int
) -> list[float]:
    """Return how much fvg and momentum prefer the oracle's side, on bars where it trades; -1 to 1.

    The mean probability (at scale 1) of its side minus that of the opposite side. Less noisy than
    P&L, it shows what was learned in runs that are too short to earn much.
    """
    votes = market_oracle(market, history).take(slice(start, stop))
    side = 1 - votes.index[:, 0]
    probabilities = softmax(found[side != 0], 1.0)
    prefers = (probabilities[:, :2, 0] - probabilities[:, :2, 2]) * side[side != 0, None]
    return [float(each) for each in prefers.mean(axis=0)]


def evaluated(
    config: TacticalConfig,
    history: MarketHistory,
    found: FloatArray,
    start: int,
    stop: int,
    scale: float,
    wanted: Validation,
) -> dict[str, Any]:
    """Return the policy's performance at the chosen scale, at every scale, and without each agent.

    Without an agent the scale is the same one; ``evaluated_without`` takes a scale for each.
    ``shapley`` holds what each agent contributes, in dollars per session. ``wanted`` is the
    validation with a target for the win rate: ``win_rate`` holds what its threshold brings here.
    """
    rules = config.rules
    votes = serving_votes(found, scale)
    return {
        "policy": trade_votes(history, votes, rules, start, stop).document(),
        "win_rate": _at_target(config, history, found, start, stop, wanted),
        "scales": {
            f"{each:g}": trade_votes(
                history, serving_votes(found, each), rules, start, stop
            ).document()
            for each in config.training.temperature_scales
        },
        "without": {
            agent: trade_votes(history, without(votes, agent), rules, start, stop).document()
            for agent in AGENTS
        },
        "shapley": _shapley(history, votes, rules, start, stop),
    }


def _at_target(
    config: TacticalConfig,
    history: MarketHistory,
    found: FloatArray,
    start: int,
    stop: int,
    wanted: Validation,
) -> dict[str, Any]:
    """Return the threshold that a target for the win rate chose (None: none) and its figures."""
    assert wanted.target is not None
    threshold, rules = wanted.target.threshold, config.rules
    if threshold is not None:
        rules = rules.with_execution_threshold(threshold)
    votes = serving_votes(found, wanted.temperature_scale)
    return {
        "wanted": wanted.target.wanted,
        "threshold": threshold,
        "figures": trade_votes(history, votes, rules, start, stop).document(),
    }


def _shapley(
    history: MarketHistory, votes: Votes, rules: Rules, start: int, stop: int
) -> dict[str, float]:
    """Return each agent's Shapley value at equal size, dollars per session."""
    values = agent_values(run_backtest(history, votes, equal_size(rules), start, stop))
    sessions = (stop - start) / _session_bars(history)
    return {each.agent: each.shapley / sessions for each in values.contributions}


def _session_bars(history: MarketHistory) -> float:
    starts = np.flatnonzero(history.sessions.is_first)
    return float(np.median(np.diff(starts))) if len(starts) > 1 else float(len(history))

"""The trading metrics of ``GET /performance``, from the trades that the fills form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.metrics import Metrics, accuracies, trade_metrics
from rllib_tactical.data.calendar.sessions import place_bars
from rllib_tactical.domain.types import AGENTS, Instrument, IntArray
from serve.api.responses import Accuracy, BundlePerformance, DailyPnl, PerformanceAnswer
from serve.state.portfolio import Trade

DAY_S: Final = 86_400

_RATIOS: Final = (
    "win_rate",
    "average_win",
    "average_loss",
    "average_trade",
    "profit_factor",
    "payoff_ratio",
)

Scores = dict[str, tuple[int, Accuracy]]
"""By bundle: closed trades with known votes, and each agent's share of right ones."""


def agent_accuracy(trades: list[Trade]) -> Accuracy:
    """Return the share of right votes per agent over the trades whose votes are known."""
    known = [trade for trade in trades if trade.votes is not None]
    found = accuracies(votes_table(known))
    return Accuracy(**{agent: found[agent] for agent in AGENTS})


def scores_by_bundle(trades: Sequence[Trade]) -> Scores:
    """Return how often the agents of each bundle were right."""
    known = [trade for trade in trades if trade.votes is not None]
    return {
        bundle_id or "": (len(made), agent_accuracy(made))
        for bundle_id, made in _by_bundle(known).items()
    }


def performance_report(
    trades: list[Trade], instrument: Instrument, now_s: float, days: int, bar_seconds: int
) -> PerformanceAnswer:
    """Return the metrics of the trades that ended in the last ``days`` days.

    The P&L of a trade belongs to the session in which the trade ended. A session without such a
    trade, between the first and the last one that have some, counts as 0. A metric that is not
    defined, such as a mean of nothing, is None.
    """
    recent = [trade for trade in trades if trade.exit_s > now_s - days * DAY_S]
    daily = _daily(recent, instrument, bar_seconds)
    return PerformanceAnswer(
        days=days,
        **_figures(recent),
        trading_days=len(daily),
        daily_pnl=DailyPnl(
            mean=float(daily.mean()) if len(daily) else None,
            std=float(daily.std(ddof=1)) if len(daily) > 1 else None,
            best=float(daily.max()) if len(daily) else None,
            worst=float(daily.min()) if len(daily) else None,
        ),
        by_bundle=[
            BundlePerformance(bundle_id=bundle_id, **_figures(made))
            for bundle_id, made in _by_bundle(recent).items()
        ],
    )


def _by_bundle(trades: Sequence[Trade]) -> dict[str | None, list[Trade]]:
    """Return the trades by the bundle that opened them, in order of their first trades."""
    found: dict[str | None, list[Trade]] = {}
    for trade in trades:
        found.setdefault(trade.bundle_id, []).append(trade)
    return found


def _figures(trades: list[Trade]) -> dict[str, Any]:
    pnl = np.array([trade.pnl for trade in trades], dtype=np.float64)
    metrics = Metrics()
    trade_metrics(metrics, pnl)
    return {
        "trades": len(trades),
        "trades_with_votes": sum(trade.votes is not None for trade in trades),
        "net_pnl": math.fsum(pnl.tolist()),
        **{name: metrics.number(name) for name in _RATIOS},
        "accuracy": agent_accuracy(trades),
    }


def votes_table(trades: Sequence[Trade]) -> pd.DataFrame:
    """Return trades with known votes in the columns of a backtest's, as far as they have them."""
    votes = np.array([trade.votes for trade in trades], dtype=np.int64).reshape(-1, len(AGENTS))
    return pd.DataFrame(
        {
            "pnl": np.array([trade.pnl for trade in trades], dtype=np.float64),
            "side": ["long" if trade.side > 0 else "short" for trade in trades],
            **{f"vote_{agent}": votes[:, i] for i, agent in enumerate(AGENTS)},
        }
    )


def _daily(trades: list[Trade], instrument: Instrument, bar_seconds: int) -> Any:
    """Return the P&L of each session (D,) from the first with a trade's end to the last."""
    if not trades:
        return np.zeros(0)
    ordered = sorted(trades, key=lambda trade: trade.exit_s)
    times: IntArray = np.array([int(trade.exit_s) for trade in ordered], dtype=np.int64)
    placed = place_bars(times, instrument.calendar, instrument.timezone, bar_seconds)
    scheduled = placed.schedule.day
    inside = scheduled[(scheduled >= placed.day[0]) & (scheduled <= placed.day[-1])]
    days = np.union1d(inside, placed.day)
    pnl = np.zeros(len(days))
    np.add.at(pnl, np.searchsorted(days, placed.day), [trade.pnl for trade in ordered])
    return pnl

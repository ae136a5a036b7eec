"""The trading metrics of ``GET /performance``, from the trades that the fills form."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.metrics import Metrics, accuracies, trade_metrics
from rllib_tactical.data.calendar.sessions import place_bars
from rllib_tactical.domain.types import AGENTS, Instrument, IntArray
from serve.api.responses import Accuracy, DailyPnl, PerformanceAnswer
from serve.state.portfolio import Trade

DAY_S: Final = 86_400


def agent_accuracy(trades: list[Trade]) -> Accuracy:
    """Return the share of right votes per agent over the trades whose votes are known."""
    known = [trade for trade in trades if trade.votes is not None]
    found = accuracies(_table(known))
    return Accuracy(**{agent: found[agent] for agent in AGENTS})


def performance_report(
    trades: list[Trade], instrument: Instrument, now_s: float, days: int, bar_seconds: int
) -> PerformanceAnswer:
    """Return the metrics of the trades that ended in the last ``days`` days.

    The P&L of a trade belongs to the session in which the trade ended. A session without such a
    trade, between the first and the last one that have some, counts as 0. A metric that is not
    defined, such as a mean of nothing, is None.
    """
    recent = [trade for trade in trades if trade.exit_s > now_s - days * DAY_S]
    pnl = np.array([trade.pnl for trade in recent], dtype=np.float64)
    metrics = Metrics()
    trade_metrics(metrics, pnl)
    daily = _daily(recent, instrument, bar_seconds)
    return PerformanceAnswer(
        days=days,
        trades=len(recent),
        trades_with_votes=sum(trade.votes is not None for trade in recent),
        net_pnl=math.fsum(pnl.tolist()),
        win_rate=metrics.number("win_rate"),
        average_win=metrics.number("average_win"),
        average_loss=metrics.number("average_loss"),
        average_trade=metrics.number("average_trade"),
        profit_factor=metrics.number("profit_factor"),
        payoff_ratio=metrics.number("payoff_ratio"),
        accuracy=agent_accuracy(recent),
        trading_days=len(daily),
        daily_pnl=DailyPnl(
            mean=float(daily.mean()) if len(daily) else None,
            std=float(daily.std(ddof=1)) if len(daily) > 1 else None,
            best=float(daily.max()) if len(daily) else None,
            worst=float(daily.min()) if len(daily) else None,
        ),
    )


def _table(trades: list[Trade]) -> pd.DataFrame:
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

"""Hand-made markets and hand-made results, with every number chosen to be checked on paper."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.trades import TRADE_COLUMNS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory, build_history
from rllib_tactical.domain.types import Bars, Instrument, Sessions

START = EMBARGO_BARS - 1
CONTRACT = Instrument(
    symbol="CONTRACT",
    tick_size=0.25,
    point_value=10.0,
    base_quantity=2.0,
    commission_per_lot=2.0,
    half_spread_ticks=0.5,
)
LONG = (0, 0, 1)
SHORT = (2, 2, 1)


def scene(
    rows: list[tuple[float, float, float, float]], session_bars: int = 1_000
) -> MarketHistory:
    """Return a history whose bar START is the last quiet one; ``rows`` (open to close) follow it.

    Quiet bars are (100, 100.5, 99.5, 100), so ATR is exactly 1 at START. Nothing is a synergy.
    """
    table = np.array([(100.0, 100.5, 99.5, 100.0)] * (START + 1) + rows)
    count = len(table)
    time_s = 1_700_006_400 + 300 * np.arange(count)  # a midnight in UTC
    place = np.arange(count) % session_bars
    last = place == session_bars - 1
    last[-1] = True
    sessions = Sessions.without_gaps(
        np.arange(count) // session_bars, place == 0, last, (place + 1) / session_bars
    )
    bars = Bars(time_s, *np.column_stack([table, np.full(count, 10.0)]).T)
    return build_history(bars, sessions, CONTRACT, SynergyTrack.none(count))


def votes_on(count: int, entries: dict[int, tuple[int, int, int]]) -> Votes:
    """Return votes that stay out but for the given rows, with full confidence."""
    votes = hold_votes(count)
    for row, index in entries.items():
        votes.index[row] = index
    return votes


def result_of(
    equity: list[float], sessions: list[int], trades: list[dict[str, Any]] | None = None
) -> BacktestResult:
    """Return a result with this equity curve and these trades; what is not given is harmless.

    ``sessions`` has the session of every bar; a trade's ``exit_row`` is the row of its exit bar.
    """
    count = len(equity)
    history = scene([(100.0, 100.5, 99.5, 100.0)] * count)
    result = run_backtest(history, hold_votes(count), Rules(), START, START + count)
    ids = np.concatenate([np.zeros(START, dtype=np.int64), sessions])
    ids = np.concatenate([ids, np.full(len(history) - len(ids), sessions[-1])])
    history = dataclasses.replace(
        history, sessions=dataclasses.replace(history.sessions, session_id=ids)
    )
    table = result.equity.assign(equity=equity, session=sessions)
    rows = [_trade(**trade) for trade in trades or []]
    frame = pd.DataFrame(rows, columns=list(TRADE_COLUMNS)) if rows else result.trades
    return dataclasses.replace(result, history=history, equity=table, trades=frame)


def _trade(exit_row: int = 1, **values: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "entry_time": pd.Timestamp("2023-11-15T14:00:00Z"),
        "exit_time": pd.Timestamp("2023-11-15T14:00:00Z"),
        "side": "long",
        "quantity": 2.0,
        "requested": 2.0,
        "decision_price": 100.0,
        "entry_price": 100.0,
        "exit_price": 100.0,
        "stop": 98.0,
        "target": 103.0,
        "exit_reason": "target",
        "pnl": 0.0,
        "costs": 0.0,
        "slippage": 0.0,
        "bars_held": 1,
        "mae": 0.0,
        "mfe": 0.0,
        "score": 1.0,
        "synergy_aligned": False,
        "vote_fvg": 1,
        "confidence_fvg": 1.0,
        "vote_momentum": 1,
        "confidence_momentum": 1.0,
        "vote_entry": 0,
        "confidence_entry": 1.0,
        "entry_bar": START + 1,
        "exit_bar": START + exit_row,
        "equity_before": 100_000.0,
    }
    return plain | values

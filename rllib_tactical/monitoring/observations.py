"""What drift is measured on: inputs, decisions and trades, each with the session that it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.features.table import FeatureTable, level_input
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES, FloatArray, IntArray
from rllib_tactical.statistics.calibration import right_votes

INPUTS: Final = (*FEATURE_NAMES, "atr_to_close")
"""What is monitored of a bar: the raw features, the level relative to the close, the volatility."""

DAY_S: Final = 86_400
_LEVEL: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Bars, decisions and trades. A session is a number that grows with time, such as a date.

    ``bar_session`` (B,) int64 and ``inputs`` (B, 8) float64, see ``INPUTS``;
    ``decision_session`` (D,), ``confidence`` (D,) of the decisions and ``votes`` (D, 3) int64,
    signed, by agent; ``trade_session`` (K,) in which trades ended, ``pnl`` (K,) dollars, ``score``
    (K,) confidence at the entry, ``right`` (K,) share of the agents whose vote was right,
    ``slippage`` (K,) of the entry as a share of the price, above zero when it hurts. What is not
    known of a trade is NaN.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """

    bar_session: IntArray
    inputs: FloatArray
    decision_session: IntArray
    confidence: FloatArray
    votes: IntArray
    trade_session: IntArray
    pnl: FloatArray
    score: FloatArray
    right: FloatArray
    slippage: FloatArray

    def __post_init__(self) -> None:
        require_shape(self.bar_session, ("B",), np.int64, "bar_session")
        bars, decisions = len(self.bar_session), len(self.decision_session)
        require_shape(self.inputs, (bars, len(INPUTS)), np.float64, "inputs")
        require_shape(self.decision_session, ("D",), np.int64, "decision_session")
        require_shape(self.confidence, (decisions,), np.float64, "confidence")
        require_shape(self.votes, (decisions, len(AGENTS)), np.int64, "votes")
        require_shape(self.trade_session, ("K",), np.int64, "trade_session")
        for name in ("pnl", "score", "right", "slippage"):
            require_shape(getattr(self, name), (len(self.trade_session),), np.float64, name)


def monitored_inputs(features: FeatureTable) -> FloatArray:
    """Return what is monitored of each bar, (T, 8); the columns are ``INPUTS``."""
    out = np.empty((len(features), len(INPUTS)))
    out[:, :-1] = features.raw
    # a price says nothing: its distance in ATRs, as the networks see it, does
    level = np.ascontiguousarray(features.raw[:, _LEVEL])
    out[:, _LEVEL] = level_input(level, features.close, features.atr)
    out[:, -1] = features.atr / features.close
    return out


def session_days(history: MarketHistory) -> IntArray:
    """Return the session of each bar, (T,): the day since 1970, UTC, of the session's first bar."""
    first = np.where(history.sessions.is_first, np.arange(len(history)), 0)
    days: IntArray = history.bars.timestamp_s[np.maximum.accumulate(first)] // DAY_S
    return days


def observations_of(result: BacktestResult) -> Observations:
    """Return what a backtest observed; a session is the day (since 1970, UTC) of its first bar.

    A session that is cut off at the end of the backtest is left out.
    """
    history, trades = result.history, result.trades
    day = session_days(history)
    bar = np.arange(result.start, result.stop - 1)
    if history.sessions.elapsed[result.stop - 1] < 1.0:
        bar = bar[day[bar] != day[result.stop - 1]]
    exits = trades["exit_bar"].to_numpy(dtype=np.int64)
    ended = np.isin(day[exits], day[bar])
    trades, exits, count = trades[ended], exits[ended], len(bar)
    right = np.array([right_votes(trades)[agent] for agent in AGENTS], dtype=np.float64)
    return Observations(
        bar_session=day[bar],
        inputs=monitored_inputs(history.features)[bar],
        decision_session=day[bar],
        confidence=result.decisions["score"].to_numpy(np.float64)[:count],
        votes=result.votes.signed[:count].astype(np.int64),
        trade_session=day[exits],
        pnl=trades["pnl"].to_numpy(np.float64),
        score=trades["score"].to_numpy(np.float64),
        right=right.mean(axis=0),
        slippage=trades["slippage"].to_numpy(np.float64),
    )

"""What a backtest leaves behind: equity, decisions and trades as plain tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import FloatArray

END_OF_DATA: Final = "end_of_data"
"""Exit reason of a position that is still open at the last bar, valued at its close."""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One account over the bars ``start`` <= t < ``stop`` of a history (K = stop - start bars).

    The account decides at the close of each bar but the last, on which the last fill happens. All
    timestamps are UTC open times of bars; money is in dollars, quantities in lots, prices in quote
    currency. Columns:

    ``equity`` (K rows), at the close of each bar: ``bar`` index into the history, ``timestamp``,
    ``session`` id, ``equity`` marked to market, ``session_drawdown`` share of the session's peak
    equity, ``position`` signed lots.

    ``decisions`` (K - 1 rows): ``bar``, ``timestamp``, ``action`` long/short/hold (what is done),
    ``execute``, ``closes``, ``reason`` code, ``winner`` long/short/hold (what the vote says),
    ``score`` of the winner after the counter-synergy discount and ``score_long``, ``score_short``,
    ``score_hold`` before it, ``vote_<agent>`` signed action and ``confidence_<agent>``,
    ``requested`` quantity before and ``quantity`` after the risk limits (0 when nothing is asked
    for, or done), ``stop`` and ``target`` of the order (NaN when there is none), ``entered``: the
    order opened a position.

    ``trades``, one row per trade in order of exit: see ``trades.TRADE_COLUMNS``.

    ``outcomes``, one row per bar on which the votes had a direction, executed or not: see
    ``brackets.vote_outcomes``; None where they were not asked for.

    ``base`` (K - 1,) and ``bonus`` (K - 1, 3) are the parts of the rewards; ``passes`` is how often
    the sessions were simulated until each began with the equity that its predecessor ended with.
    """

    history: MarketHistory
    rules: Rules
    rewards: RewardConfig
    votes: Votes
    start: int
    stop: int
    equity: pd.DataFrame
    decisions: pd.DataFrame
    trades: pd.DataFrame
    base: FloatArray
    bonus: FloatArray
    passes: int
    outcomes: pd.DataFrame | None = None

    @property
    def lost_row(self) -> int | None:
        """The row of ``equity`` at whose close no equity was left: there the trading ends.

        None for an account that was not lost. The equity stays what it is there.
        """
        gone = (self.equity["equity"] <= 0.0).to_numpy()
        return int(gone.argmax()) if gone.any() else None

    @property
    def initial_equity(self) -> float:
        """Equity in dollars before the first decision."""
        return float(self.equity["equity"].iloc[0])

    @property
    def net_pnl(self) -> float:
        """Change of marked-to-market equity in dollars, net of every cost."""
        return float(self.equity["equity"].iloc[-1]) - self.initial_equity

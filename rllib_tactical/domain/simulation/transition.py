"""What one step of the simulator did: fills, trades that ended, rewards."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from rllib_tactical.domain.decision.pipeline import Decision
from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray


class ExitReason(IntEnum):
    """Why a trade ended. The lower-case name is what reports show."""

    NONE = 0
    OPPOSITE = 1
    STOP = 2
    TARGET = 3
    SESSION_END = 4
    HALT = 5
    LIQUIDATION = 6


# not frozen, like everything created in each step: setting frozen fields costs three times as much
@dataclass(slots=True)
class Step:
    """What one step did to N accounts. Arrays have shape (N,) unless said otherwise.

    ``t`` int64 the bar decided on (fills happen on t + 1); ``decision`` at the close of t;
    ``entered`` / ``exited`` bool; ``entry_price`` / ``exit_price`` fills, NaN where none;
    ``exit_reason`` int64; ``quantity`` lots of the trade that ended; ``trade_side`` of it;
    ``trade_entry_t`` its decision bar; ``trade_entry_price``; ``trade_pnl`` net dollars of it;
    ``trade_cost`` dollars of spread, slippage, commission and funding paid by it;
    ``equity_change`` dollars; ``rewards`` (N, 3); ``base`` (N,) and ``bonus`` (N, 3) its parts.
    """

    t: IntArray
    decision: Decision
    entered: BoolArray
    exited: BoolArray
    entry_price: FloatArray
    exit_price: FloatArray
    exit_reason: IntArray
    quantity: FloatArray
    trade_side: IntArray
    trade_entry_t: IntArray
    trade_entry_price: FloatArray
    trade_pnl: FloatArray
    trade_cost: FloatArray
    equity_change: FloatArray
    rewards: FloatArray
    base: FloatArray
    bonus: FloatArray


@dataclass(slots=True)
class Exits:
    """Trades that ended on the bar being simulated; arrays (N,), see ``Step``.

    ``count`` is the number of trades that ended.
    """

    exited: BoolArray
    reason: IntArray
    price: FloatArray
    side: IntArray
    quantity: FloatArray
    entry_t: IntArray
    entry_price: FloatArray
    pnl: FloatArray
    cost: FloatArray
    after_mitigation: BoolArray
    counter_trend: BoolArray
    count: int = 0

    @classmethod
    def none(cls, accounts: int) -> Exits:
        """Return read-only arrays of a step without an exit."""
        exits = cls.empty(accounts)
        for field in fields(cls):
            if field.name != "count":
                getattr(exits, field.name).flags.writeable = False
        return exits

    @classmethod
    def empty(cls, accounts: int) -> Exits:
        """Return arrays without an exit, to be filled in."""
        return cls(
            exited=np.zeros(accounts, dtype=np.bool_),
            reason=np.zeros(accounts, dtype=np.int64),
            price=np.full(accounts, np.nan),
            side=np.zeros(accounts, dtype=np.int64),
            quantity=np.zeros(accounts),
            entry_t=np.zeros(accounts, dtype=np.int64),
            entry_price=np.zeros(accounts),
            pnl=np.zeros(accounts),
            cost=np.zeros(accounts),
            after_mitigation=np.zeros(accounts, dtype=np.bool_),
            counter_trend=np.zeros(accounts, dtype=np.bool_),
        )

"""The only composition of votes, order and risk into a decision.

Training, backtest, paper trading and the decision service all call ``decide``; the service with
N = 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.decision.aggregation import Aggregate, AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig, _bracket, _requested_quantity
from rllib_tactical.domain.decision.risk import AccountView, RiskConfig, _limit_orders
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_fields, require_shape
from rllib_tactical.domain.types import (
    BoolArray,
    FloatArray,
    Instrument,
    IntArray,
    Reason,
    StrictConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules(StrictConfig):
    """Everything that turns votes into orders, besides the instrument."""

    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    orders: OrderConfig = field(default_factory=OrderConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)

    def with_execution_threshold(self, threshold: float) -> Rules:
        """Return the rules with another execution threshold."""
        aggregation = dataclasses.replace(self.aggregation, execution_threshold=threshold)
        return dataclasses.replace(self, aggregation=aggregation)


_MARKET_DTYPES: Final[dict[str, type[Any]]] = {
    "atr": np.float64,
    "synergy_kind": np.integer,
    "synergy_direction": np.integer,
}


@dataclass(slots=True)
class MarketSnapshot:
    """What N decisions see of the market. Arrays have shape (N,).

    ``price`` is the close of the decision bar and ``atr`` its ATR, both in price units;
    ``synergy_kind`` 0..5 and ``synergy_direction`` +1, -1, 0 describe the synergy in force.
    ``after_gap`` bool: bars are missing so shortly before that nothing is ordered, and nothing is
    closed by an order either; None: nowhere.
    """

    price: FloatArray
    atr: FloatArray
    synergy_kind: NDArray[np.integer]
    synergy_direction: NDArray[np.integer]
    after_gap: BoolArray | None = None


@dataclass(slots=True)
class Decision:
    """N decisions. Arrays have shape (N,).

    ``action`` int64 is what is done: +1 buy, -1 sell, 0 nothing; ``execute`` bool; ``closes`` bool:
    the order closes an opposite position instead of opening one; ``quantity`` lots (0 when nothing
    is done); ``requested`` lots before the risk limits; ``stop`` and ``target`` prices on the tick,
    all three 0 where the vote asks for no order; ``reason`` int64 ``Reason`` values; ``vote`` the
    aggregation behind it.
    """

    action: IntArray
    execute: BoolArray
    closes: BoolArray
    quantity: FloatArray
    requested: FloatArray
    stop: FloatArray
    target: FloatArray
    reason: IntArray
    vote: Aggregate

    @property
    def confidence(self) -> FloatArray:
        """The final score of the winning side (N,)."""
        return self.vote.score


def decide(
    votes: Votes, market: MarketSnapshot, account: AccountView, instrument: Instrument, rules: Rules
) -> Decision:
    """Turn N sets of votes into decisions with orders inside the risk limits.

    Raises:
        ArrayError: an array of another rank, shape or dtype, or a vote or synergy out of range.
        OrderError: a vote asks for an order and the instrument's base_quantity is not resolved.
    """
    require_shape(market.price, ("N",), np.float64, "market.price")
    require_fields(market, market.price.shape, _MARKET_DTYPES, "market")
    if market.after_gap is not None:
        require_shape(market.after_gap, market.price.shape, np.bool_, "market.after_gap")
    account.require(len(market.price))
    return _decide(votes, market, account, instrument, rules)


def _decide(
    votes: Votes, market: MarketSnapshot, account: AccountView, instrument: Instrument, rules: Rules
) -> Decision:
    # the votes come from outside even in the simulator: aggregate checks them against the market
    vote = votes.aggregate(market.synergy_kind, market.synergy_direction, rules.aggregation)
    count = len(vote.side)
    action, closes = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    quantity, requested = np.zeros(count), np.zeros(count)
    stop, target = np.zeros(count), np.zeros(count)
    execute, reason = vote.execute, vote.reason
    if market.after_gap is not None:
        execute = execute & ~market.after_gap
        reason = np.where(market.after_gap, Reason.DATA_GAP.value, reason)
    who = execute.nonzero()[0]
    if len(who):  # only these need an order
        side, price, atr = vote.side[who], market.price[who], market.atr[who]
        lots = _requested_quantity(vote.score[who], vote.aggressive[who], instrument, rules.orders)
        requested[who] = lots
        stop[who], target[who] = _bracket(price, side, atr, instrument, rules.orders)
        allowed, limit = _limit_orders(
            side,
            lots,
            price,
            stop[who],
            target[who],
            atr,
            account.take(who),
            instrument,
            rules.risk,
        )
        acts = allowed > 0.0
        execute, reason = execute.copy(), reason.copy()
        execute[who], reason[who] = acts, limit
        action[who] = side * acts
        closes[who] = limit == Reason.CLOSE_OPPOSITE.value
        quantity[who] = np.where(acts, allowed, 0.0)
    return Decision(
        action=action,
        execute=execute,
        closes=closes,
        quantity=quantity,
        requested=requested,
        stop=stop,
        target=target,
        reason=reason,
        vote=vote,
    )

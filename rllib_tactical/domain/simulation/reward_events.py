"""What one step of the simulator tells the reward function."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot
from rllib_tactical.domain.decision.risk import _risk_per_lot
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardEvents
from rllib_tactical.domain.simulation.transition import Exits
from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray


def reward_events(
    history: MarketHistory,
    t: IntArray,
    decision: Decision,
    market: MarketSnapshot,
    entered: BoolArray,
    entry_price: FloatArray,
    exits: Exits,
    equity_change: FloatArray,
    equity_before: FloatArray,
) -> RewardEvents:
    """Return the entries and exits of N accounts as the reward function sees them.

    Entries are seen with what was known when they were decided, at the close of bars ``t``.

    Args:
        history: the market.
        t: (N,) the bars decided on.
        decision: made at their closes.
        market: what the decisions saw of the market.
        entered: (N,) whether a position was opened on the next bar.
        entry_price: (N,) at which it was, NaN where none.
        exits: trades that ended on the next bar.
        equity_change: (N,) dollars from close to close.
        equity_before: (N,) dollars at the close of ``t``.
    """
    count = len(entered)
    at_gap, with_synergy = np.zeros((2, count), dtype=np.bool_)
    shortfall, risked, alignment = np.zeros((3, count))
    who = entered.nonzero()[0]
    if len(who):
        instrument = history.instrument
        side, price, atr = decision.action[who], market.price[who], market.atr[who]
        raw = history.features.raw.take(t[who], axis=0)
        near = instrument.gap_proximity_points or atr
        at_gap[who] = (raw[:, 2] != 0.0) & (np.abs(raw[:, 2] - price) <= near)
        per_lot = _risk_per_lot(price, decision.stop[who], atr, instrument)
        risked[who] = decision.requested[who] * per_lot / equity_before[who]
        shortfall[who] = side * (entry_price[who] - price) / price
        agrees = market.synergy_direction[who] == side
        with_synergy[who] = (market.synergy_kind[who] > 0) & agrees
        # raw momentum is relative to C_{t-5}; turned back into price units, then into ATRs
        move = price * raw[:, 5] / (100.0 + raw[:, 5])
        atrs = np.divide(move, atr, out=np.zeros(len(who)), where=atr > 0)
        alignment[who] = side * np.tanh(atrs)
    return RewardEvents(
        equity_change=equity_change,
        entered=entered,
        with_synergy=with_synergy,
        shortfall=shortfall,
        requested_risk=risked,
        at_gap=at_gap,
        alignment=alignment,
        closed=exits.exited,
        trade_pnl=exits.pnl,
        after_mitigation=exits.after_mitigation,
        counter_trend=exits.counter_trend,
    )

"""Buy once and hold: what the instrument itself earned, with and without its nights.

The rules of the agents (brackets, size by confidence, risk limits) do not apply: the account buys
the instrument's base quantity and holds it. Fills and costs are those of every other account.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import hold_votes, result_of_log
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.tables import Log
from rllib_tactical.domain.decision.costs import (
    adverse_move,
    commission,
    funding,
    funding_payments,
    market_fill,
)
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import session_drawdown
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import (
    LONG,
    NUM_AGENTS,
    BoolArray,
    FloatArray,
    IntArray,
    Reason,
)
from rllib_tactical.errors import OrderError


def passive_result(
    history: MarketHistory,
    rules: Rules,
    start: int,
    stop: int,
    *,
    overnight: bool,
    active: BoolArray | None = None,
) -> BacktestResult:
    """Return the account that buys at the first open after bar ``start`` and holds.

    Args:
        history: the market.
        rules: whose first equity the account has; nothing else of them applies.
        start: bar at whose close the account is flat.
        stop: one past the last bar. What is still held there is valued at its close.
        overnight: hold through; else sell at each session's last close and buy again at the next
            open.
        active: (K,) the bars at whose close the account may want to be long; all when None.

    Raises:
        OrderError: the instrument's base_quantity has not been resolved.
    """
    steps = stop - start - 1
    bar = np.arange(start + 1, stop)
    wanted = np.ones(steps, dtype=np.bool_) if active is None else active[:-1]
    is_open = history.sessions.is_open[bar]
    held = _held_through(wanted, is_open) if overnight else wanted & is_open
    ends = np.append(~held[1:], False) & held
    if not overnight:
        ends |= history.sessions.is_last[bar] & held
        ends[-1] = False  # the end of the data ends no session
    log = _log(history, rules, bar, held, ends)
    lost = (log["equity"] <= 0.0).nonzero()[0]
    if len(lost):  # liquidated at that close, and never long again
        last = int(lost[0])
        held[last + 1 :], ends[last + 1 :], ends[last] = False, False, True
        log = _log(history, rules, bar, held, ends)
        log["exit_reason"][last] = int(ExitReason.LIQUIDATION)
    votes = hold_votes(stop - start)
    return result_of_log(history, votes, rules, RewardConfig(), start, stop, log)


def _held_through(wanted: BoolArray, is_open: BoolArray) -> BoolArray:
    """Return whether a position is held during bars (S,): while closed, if wanted on both sides."""
    bar = is_open.nonzero()[0]
    held = np.zeros(len(wanted), dtype=np.bool_)
    if len(bar):
        here = np.arange(len(wanted))
        before = np.searchsorted(bar, here, side="right") - 1
        after = np.minimum(np.searchsorted(bar, here), len(bar) - 1)
        held = (before >= 0) & wanted[bar[np.maximum(before, 0)]] & wanted[bar[after]]
    return held


def _log(
    history: MarketHistory,
    rules: Rules,
    bar: IntArray,
    held: BoolArray,
    ends: BoolArray,
) -> Log:
    """Return what the simulator would report of the steps onto ``bar`` (S,), see ``Log``."""
    begins = held & ~np.concatenate([[False], held[:-1] & ~ends[:-1]])
    instrument, steps = history.instrument, len(bar)
    quantity, point = instrument.base_quantity, instrument.point_value
    if quantity is None:
        raise OrderError(f"instrument {instrument.symbol}: base_quantity must be set, found none")
    adverse = adverse_move(history.features.atr[bar - 1], instrument)
    side = np.ones(steps, dtype=np.int64)
    bought = market_fill(history.bars.open[bar], side, adverse)
    sold = market_fill(history.bars.close[bar], -side, adverse)
    fee = float(commission(np.array([quantity]), instrument)[0])

    first = np.maximum.accumulate(np.where(begins, np.arange(steps), 0))  # step of the purchase
    entry, entry_cost = bought[first], fee + adverse[first] * quantity * point
    total = np.cumsum(np.where(held & ~begins, _funding(history, bar, quantity), 0.0))
    funded = total - total[first]  # paid by the open trade
    pnl = (sold - entry) * quantity * point - 2.0 * fee - funded
    realized = np.cumsum(np.where(ends, pnl, 0.0))
    closed_before = np.concatenate([[0.0], realized[:-1]])
    open_pnl = (history.bars.close[bar] - entry) * quantity * point - fee - funded
    value = np.where(ends | ~held, realized, closed_before + open_pnl)
    equity = rules.risk.initial_equity + value
    holding = held & ~ends
    nothing = np.full(steps, np.nan)
    return {
        "action": np.where(begins, LONG, 0),
        "execute": begins,
        "closes": np.zeros(steps, dtype=np.bool_),
        "quantity": np.where(begins, quantity, 0.0),
        "requested": np.where(begins, quantity, 0.0),
        "stop": nothing,
        "target": nothing,
        "reason": np.where(
            begins,
            Reason.EXECUTE.value,
            np.where(held, Reason.ALREADY_POSITIONED.value, Reason.NO_DIRECTION.value),
        ),
        "winner": held.astype(np.int64),
        "score": held.astype(np.float64),
        "scores": np.stack([held, np.zeros(steps), ~held], axis=1).astype(np.float64),
        "entered": begins,
        "entry_price": np.where(begins, bought, np.nan),
        "exited": ends,
        "exit_price": np.where(ends, sold, np.nan),
        "exit_reason": np.where(ends, int(ExitReason.SESSION_END), int(ExitReason.NONE)),
        "trade_quantity": np.full(steps, quantity),
        "trade_side": side,
        "trade_entry_t": bar[first] - 1,
        "trade_entry_price": entry,
        "trade_pnl": pnl,
        "trade_cost": entry_cost + fee + adverse * quantity * point + funded,
        "base": np.zeros(steps),
        "bonus": np.zeros((steps, NUM_AGENTS)),
        "equity": equity,
        "drawdown": _session_drawdown(history, bar, equity, rules.risk.initial_equity),
        "side": holding.astype(np.int64),
        "held": np.where(holding, quantity, 0.0),
        "open_cost": np.where(holding, entry_cost + funded, 0.0),
    }


def _funding(history: MarketHistory, bar: IntArray, quantity: float) -> FloatArray:
    """Return the dollars (S,) of funding due at the open of ``bar`` by who is long."""
    payments = funding_payments(history.bars.timestamp_s, history.instrument)[bar]
    side, lots = np.ones(len(bar), dtype=np.int64), np.full(len(bar), quantity)
    return payments * funding(side, lots, history.bars.open[bar], history.instrument)


def _session_drawdown(
    history: MarketHistory, bar: IntArray, equity: FloatArray, initial: float
) -> FloatArray:
    """Return the drawdown (S,) from the session's own peak, its opening equity included."""
    before = np.concatenate([[initial], equity[:-1]])
    session = history.sessions.session_id[bar]
    peak = pd.Series(np.maximum(equity, before)).groupby(session).cummax().to_numpy()
    return session_drawdown(equity, np.asarray(peak, dtype=np.float64))

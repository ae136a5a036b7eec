"""Risk limits: what may be traded, given the account. A refusal is a reason code, no exception.

There is no switch that skips them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.costs import _round_trip_cost_per_lot
from rllib_tactical.domain.decision.missing_bars import NO_GAP
from rllib_tactical.domain.decision.orders import _floor_to_lot
from rllib_tactical.domain.preconditions import require_fields, require_shape
from rllib_tactical.domain.types import (
    BoolArray,
    FloatArray,
    Instrument,
    IntArray,
    Reason,
    StrictConfig,
)
from rllib_tactical.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskConfig(StrictConfig):
    """Limits as shares of equity, and the leverage.

    ``hold_bars_after_gap``: on so many bars after missing ones there is no order, 0 to 60.

    Raises:
        ConfigError: a value is outside its range; the message names the field.
    """

    initial_equity: float = 100_000.0
    max_risk_per_trade: float = 0.02
    session_drawdown_limit: float = 0.02
    drawdown_share_per_trade: float = 0.8
    max_leverage: float = 5.0
    hold_bars_after_gap: int = 5

    def __post_init__(self) -> None:
        for name in ("max_risk_per_trade", "session_drawdown_limit", "drawdown_share_per_trade"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"risk.{name} must be in (0, 1], found {getattr(self, name)!r}")
        for name in ("initial_equity", "max_leverage"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                found = getattr(self, name)
                raise ConfigError(f"risk.{name} must be finite and > 0, found {found!r}")
        if not 0 <= self.hold_bars_after_gap <= NO_GAP:
            raise ConfigError(
                f"risk.hold_bars_after_gap must be in 0..{NO_GAP}, "
                f"found {self.hold_bars_after_gap!r}"
            )


_ACCOUNT_DTYPES: Final[dict[str, type[np.generic]]] = {
    "equity": np.float64,
    "session_peak": np.float64,
    "position_side": np.int64,
    "position_quantity": np.float64,
    "halted": np.bool_,
    "tradable": np.bool_,
}


@dataclass(slots=True)
class AccountView:
    """What risk needs to know of N accounts at the close of the bar. Arrays have shape (N,).

    ``equity`` and ``session_peak`` in dollars, marked to market; ``position_side`` +1, -1 or 0;
    ``position_quantity`` in lots; ``halted``: the session's limit was hit or trading is paused;
    ``tradable``: the session has another bar on which an order could fill; ``full``: accounts of
    other instruments hold all places for positions, see ``PositionBudget``; None: there is no such
    limit.
    """

    equity: FloatArray
    session_peak: FloatArray
    position_side: IntArray
    position_quantity: FloatArray
    halted: BoolArray
    tradable: BoolArray
    full: BoolArray | None = None

    def require(self, count: int) -> None:
        """Refuse arrays of another rank, shape or dtype than of ``count`` accounts.

        Raises:
            ArrayError: names the field.
        """
        require_fields(self, (count,), _ACCOUNT_DTYPES, "account")
        if self.full is not None:
            require_shape(self.full, (count,), np.bool_, "account.full")

    def take(self, accounts: IntArray) -> AccountView:
        """Return the view of ``accounts`` (K,) only."""
        return AccountView(
            self.equity[accounts],
            self.session_peak[accounts],
            self.position_side[accounts],
            self.position_quantity[accounts],
            self.halted[accounts],
            self.tradable[accounts],
            None if self.full is None else self.full[accounts],
        )


def session_drawdown(equity: FloatArray, session_peak: FloatArray) -> FloatArray:
    """Return (session peak - equity) / session peak (N,); 1 where the peak is not above zero.

    Raises:
        ArrayError: an array of another rank, shape or dtype than (N,) float64.
    """
    require_shape(equity, ("N",), np.float64, "equity")
    require_shape(session_peak, equity.shape, np.float64, "session_peak")
    return _session_drawdown(equity, session_peak)


def _session_drawdown(equity: FloatArray, session_peak: FloatArray) -> FloatArray:
    drawdown = np.ones(len(equity))
    # where the peak is unknown (NaN) too, the drawdown stays 1
    np.divide(session_peak - equity, session_peak, out=drawdown, where=session_peak > 0.0)
    return drawdown


def session_limits(
    equity: FloatArray,
    equity_before: FloatArray,
    session_peak: FloatArray,
    halted: BoolArray,
    new_session: BoolArray,
    config: RiskConfig,
) -> tuple[FloatArray, BoolArray]:
    """Return session peak (N,) and halted (N,) after marking accounts to market at a close.

    Args:
        equity: (N,) dollars at this close.
        equity_before: (N,) at the close before, where a new session's peak starts.
        session_peak: (N,) so far.
        halted: (N,) so far; a new session lifts it.
        new_session: (N,) whether this close is a session's first.
        config: the drawdown limit.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(equity, ("N",), np.float64, "equity")
    count = equity.shape
    require_shape(equity_before, count, np.float64, "equity_before")
    require_shape(session_peak, count, np.float64, "session_peak")
    require_shape(halted, count, np.bool_, "halted")
    require_shape(new_session, count, np.bool_, "new_session")
    return _session_limits(equity, equity_before, session_peak, halted, new_session, config)


def _session_limits(
    equity: FloatArray,
    equity_before: FloatArray,
    session_peak: FloatArray,
    halted: BoolArray,
    new_session: BoolArray,
    config: RiskConfig,
) -> tuple[FloatArray, BoolArray]:
    if np.count_nonzero(new_session):
        session_peak = np.where(new_session, equity_before, session_peak)
        halted = halted & ~new_session
    peak = np.maximum(session_peak, equity)
    return peak, halted | (_session_drawdown(equity, peak) >= config.session_drawdown_limit)


def risk_per_lot(
    price: FloatArray, stop: FloatArray, atr: FloatArray, instrument: Instrument
) -> FloatArray:
    """Return the dollars (N,) one lot loses when it is stopped out, costs included.

    Rebates that exceed the other costs do not make the loss smaller.

    Args:
        price: (N,) closes of the decision bars.
        stop: (N,) stop prices.
        atr: (N,) in price units.
        instrument: its point value and costs.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(price, ("N",), np.float64, "price")
    require_shape(stop, price.shape, np.float64, "stop")
    require_shape(atr, price.shape, np.float64, "atr")
    return _risk_per_lot(price, stop, atr, instrument)


def _risk_per_lot(
    price: FloatArray, stop: FloatArray, atr: FloatArray, instrument: Instrument
) -> FloatArray:
    distance = np.abs(price - stop) * instrument.point_value
    return distance + np.maximum(_round_trip_cost_per_lot(atr, instrument), 0.0)


def limit_orders(
    side: IntArray,
    quantity: FloatArray,
    price: FloatArray,
    stop: FloatArray,
    target: FloatArray,
    atr: FloatArray,
    account: AccountView,
    instrument: Instrument,
    config: RiskConfig,
) -> tuple[FloatArray, IntArray]:
    """Return the allowed quantity (N,) and the reason (N,) of orders that the vote would execute.

    In this order: an account without equity and position is lost and refuses; a halted or closed
    session refuses; a position on the opposite side is closed, whatever the limits say, because
    closing reduces risk; a stop or target at or below zero refuses; the loss at the stop, with
    costs, is kept within 2% of equity and within 80% of the session drawdown still available; the
    notional within the leverage; a position on the same side refuses, and so do positions of other
    instruments that hold all places. Quantity is 0 where refused.

    Args:
        side: (N,) integer, +1 or -1.
        quantity: (N,) requested lots.
        price: (N,) closes of the decision bars.
        stop: (N,) stop prices.
        target: (N,) target prices.
        atr: (N,) in price units.
        account: the N accounts.
        instrument: its lot step, tick, point value and costs.
        config: the limits.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(side, ("N",), np.integer, "side")
    require_shape(quantity, side.shape, np.float64, "quantity")
    require_shape(price, side.shape, np.float64, "price")
    require_shape(stop, side.shape, np.float64, "stop")
    require_shape(target, side.shape, np.float64, "target")
    require_shape(atr, side.shape, np.float64, "atr")
    account.require(len(side))
    return _limit_orders(side, quantity, price, stop, target, atr, account, instrument, config)


def _limit_orders(
    side: IntArray,
    quantity: FloatArray,
    price: FloatArray,
    stop: FloatArray,
    target: FloatArray,
    atr: FloatArray,
    account: AccountView,
    instrument: Instrument,
    config: RiskConfig,
) -> tuple[FloatArray, IntArray]:
    lot = instrument.lot_step
    per_lot = _risk_per_lot(price, stop, atr, instrument)
    drawdown_left = account.equity - account.session_peak * (1.0 - config.session_drawdown_limit)
    at_risk = np.minimum(
        config.max_risk_per_trade * account.equity, config.drawdown_share_per_trade * drawdown_left
    )
    stop_is_real = np.abs(price - stop) * 2.0 > instrument.tick_size
    lots = np.zeros(len(side))
    np.divide(np.maximum(at_risk, 0.0), per_lot, out=lots, where=stop_is_real)
    by_risk = np.minimum(quantity, _floor_to_lot(lots, lot))
    notional = np.maximum(config.max_leverage * account.equity, 0.0)
    allowed = np.minimum(by_risk, _floor_to_lot(notional / (price * instrument.point_value), lot))

    reason = np.full(len(side), Reason.EXECUTE.value)
    if account.full is not None:
        reason[account.full] = Reason.POSITIONS_LIMIT.value
    reason[account.position_side == side] = Reason.ALREADY_POSITIONED.value
    # not (>=) instead of <, so that an unknown state (NaN) refuses too
    reason[~(allowed >= lot)] = Reason.LEVERAGE_LIMIT.value
    reason[~(by_risk >= lot)] = Reason.RISK_LIMIT.value
    reason[np.minimum(stop, target) <= 0.0] = Reason.LEVEL_NOT_POSITIVE.value
    closes = account.position_side == -side
    reason[closes] = Reason.CLOSE_OPPOSITE.value
    reason[~account.tradable] = Reason.SESSION_CLOSED.value
    reason[account.halted] = Reason.SESSION_HALTED.value
    reason[(account.equity <= 0.0) & (account.position_side == 0)] = Reason.ACCOUNT_LOST.value
    allowed = np.where(closes, account.position_quantity, allowed)
    refused = (reason != Reason.EXECUTE.value) & (reason != Reason.CLOSE_OPPOSITE.value)
    return np.where(refused, 0.0, allowed), reason

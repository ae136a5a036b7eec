"""What trading costs: half spread, slippage and commission per side; funding while it is held."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray, Instrument, IntArray


def adverse_move(atr: FloatArray, instrument: Instrument) -> FloatArray:
    """Return by how much a market order fills worse than the bar price, in price units (N,).

    Half spread plus slippage: fixed ticks and a share of the ``atr`` (N,) known at the decision.

    Raises:
        ArrayError: an array of another rank or dtype.
    """
    require_shape(atr, ("N",), np.float64, "atr")
    return _adverse_move(atr, instrument)


def _adverse_move(atr: FloatArray, instrument: Instrument) -> FloatArray:
    ticks = (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
    return ticks + instrument.slippage_atr_share * atr


def market_fill(price: FloatArray, side: IntArray, adverse: FloatArray) -> FloatArray:
    """Return the fill price (N,) of market orders: buys (+1) pay more, sells (-1) receive less.

    Args:
        price: (N,) bar prices.
        side: (N,) integer, +1 or -1.
        adverse: (N,) adverse move in price units.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(price, ("N",), np.float64, "price")
    require_shape(side, price.shape, np.integer, "side")
    require_shape(adverse, price.shape, np.float64, "adverse")
    return _market_fill(price, side, adverse)


def _market_fill(price: FloatArray, side: IntArray, adverse: FloatArray) -> FloatArray:
    return np.asarray(price + side * adverse, dtype=np.float64)


def commission(
    quantity: FloatArray, instrument: Instrument, factor: FloatArray | float = 1.0
) -> FloatArray:
    """Return the commission in dollars (N,) of one side of ``quantity`` lots (N,).

    Below zero it is a rebate, which a ``factor`` above 1 does not raise.

    Args:
        quantity: (N,) lots.
        instrument: its commission.
        factor: (N,) or one number >= 0 that costs are multiplied by.

    Raises:
        ArrayError: an array of another rank or dtype.
    """
    require_shape(quantity, ("N",), np.float64, "quantity")
    if isinstance(factor, np.ndarray):
        require_shape(factor, quantity.shape, np.float64, "factor")
    return _commission(quantity, instrument, factor)


def _commission(
    quantity: FloatArray, instrument: Instrument, factor: FloatArray | float
) -> FloatArray:
    if instrument.commission_per_lot < 0.0:
        factor = np.minimum(factor, 1.0)
    return np.asarray(quantity * instrument.commission_per_lot * factor, dtype=np.float64)


def funding_payments(time_s: IntArray, instrument: Instrument) -> IntArray:
    """Return how often positions pay funding (T,) between the bar before and each bar's open.

    The moment at which a bar opens counts for that bar; 0 for the first bar.

    Args:
        time_s: (T,) open times of bars in UTC epoch seconds.
        instrument: its hours of funding.

    Raises:
        ArrayError: ``time_s`` is not (T,) of integers.
    """
    require_shape(time_s, ("T",), np.integer, "time_s")
    passed = time_s // (instrument.funding_hours * 3600)
    return np.diff(passed, prepend=passed[:1])


def funding(
    side: IntArray, quantity: FloatArray, price: FloatArray, instrument: Instrument
) -> FloatArray:
    """Return the dollars (N,) that positions pay at one time of funding; below zero they receive.

    Args:
        side: (N,) integer, +1 or -1.
        quantity: (N,) lots.
        price: (N,) at that time.
        instrument: its rate and point value.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(side, ("N",), np.integer, "side")
    require_shape(quantity, side.shape, np.float64, "quantity")
    require_shape(price, side.shape, np.float64, "price")
    value = quantity * price * instrument.point_value
    return np.asarray(side * value * instrument.funding_rate, dtype=np.float64)


def round_trip_cost_per_lot(atr: FloatArray, instrument: Instrument) -> FloatArray:
    """Return the dollars (N,) that one lot loses by being bought and sold at one price.

    Below zero where rebates exceed spread and slippage.

    Raises:
        ArrayError: an array of another rank or dtype.
    """
    require_shape(atr, ("N",), np.float64, "atr")
    return _round_trip_cost_per_lot(atr, instrument)


def _round_trip_cost_per_lot(atr: FloatArray, instrument: Instrument) -> FloatArray:
    moves = 2.0 * _adverse_move(atr, instrument) * instrument.point_value
    return moves + 2.0 * instrument.commission_per_lot

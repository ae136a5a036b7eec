"""What trading costs: half spread, slippage and commission, per side."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import FloatArray, Instrument, IntArray


def adverse_move(atr: FloatArray, instrument: Instrument) -> FloatArray:
    """Return by how much a market order fills worse than the bar price, in price units (N,).

    Half spread plus slippage: fixed ticks and a share of the ATR known at the decision.
    """
    ticks = (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
    return ticks + instrument.slippage_atr_share * atr


def market_fill(price: FloatArray, side: IntArray, adverse: FloatArray) -> FloatArray:
    """Return the fill price (N,) of market orders: buys (+1) pay more, sells (-1) receive less.

    ``adverse`` is the adverse move (N,) in price units.
    """
    return np.asarray(price + side * adverse, dtype=np.float64)


def commission(quantity: FloatArray, instrument: Instrument) -> FloatArray:
    """Return the commission in dollars (N,) of one side of ``quantity`` lots."""
    return quantity * instrument.commission_per_lot


def round_trip_cost_per_lot(atr: FloatArray, instrument: Instrument) -> FloatArray:
    """Return the dollars (N,) that one lot loses by being bought and sold at one price."""
    moves = 2.0 * adverse_move(atr, instrument) * instrument.point_value
    return moves + 2.0 * instrument.commission_per_lot

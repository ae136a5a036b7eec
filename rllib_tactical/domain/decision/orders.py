"""Order prices and requested size. Risk limits come after, in ``risk``."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import BoolArray, FloatArray, Instrument, IntArray, StrictConfig
from rllib_tactical.errors import ConfigError, OrderError

# So that 3 lots computed as 2.9999999999 stay 3: a share of one step, or of all of them where the
# rounding of the quotient is larger than that.
_FLOOR_SLACK: Final = 1e-9
_QUOTIENT_SLACK: Final = 4e-15


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderConfig(StrictConfig):
    """Distances and size of orders.

    Raises:
        ConfigError: a value is not positive; the message names the field.
    """

    stop_atr: float = 2.0
    target_atr: float = 3.0
    full_size_confidence: float = 0.8
    cap_execute: float = 1.0
    cap_aggressive: float = 1.5

    def __post_init__(self) -> None:
        for name in (
            "stop_atr",
            "target_atr",
            "full_size_confidence",
            "cap_execute",
            "cap_aggressive",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"orders.{name} must be > 0, found {getattr(self, name)!r}")


def round_to_tick(price: FloatArray, tick_size: float) -> FloatArray:
    """Return prices (...,) rounded to the nearest tick (half to even).

    Raises:
        ArrayError: an array of another dtype than float64.
    """
    require_shape(price, ("...",), np.float64, "price")
    return _round_to_tick(price, tick_size)


def _round_to_tick(price: FloatArray, tick_size: float) -> FloatArray:
    return _multiple_of(np.rint(price / tick_size), tick_size)


def floor_to_lot(quantity: FloatArray, lot_step: float) -> FloatArray:
    """Return quantities (...,) rounded down to whole lot steps.

    Raises:
        ArrayError: an array of another dtype than float64.
    """
    require_shape(quantity, ("...",), np.float64, "quantity")
    return _floor_to_lot(quantity, lot_step)


def _floor_to_lot(quantity: FloatArray, lot_step: float) -> FloatArray:
    steps = quantity / lot_step
    slack = np.maximum(_FLOOR_SLACK, _QUOTIENT_SLACK * steps)
    return _multiple_of(np.floor(steps + slack), lot_step)


def _multiple_of(count: FloatArray, step: float) -> FloatArray:
    """Return ``count`` x ``step`` as the decimal number that it is: 3 x 0.1 is 0.3.

    Counts (...,) are whole. The product of a binary approximation would miss by its own error.
    """
    numerator, denominator = _ratio(step)
    return np.asarray(count * numerator / denominator, dtype=np.float64)


@lru_cache(maxsize=64)
def _ratio(step: float) -> tuple[float, float]:
    """Return the shortest decimal that reads as ``step``, as a ratio of whole numbers."""
    exact = Fraction(repr(step))
    return float(exact.numerator), float(exact.denominator)


def bracket(
    price: FloatArray,
    side: IntArray,
    atr: FloatArray,
    instrument: Instrument,
    config: OrderConfig,
) -> tuple[FloatArray, FloatArray]:
    """Return stop loss = price -/+ 2 ATR and take profit = price +/- 3 ATR (N,), on the tick.

    Args:
        price: (N,) closes of the decision bars.
        side: (N,) integer, +1 or -1.
        atr: (N,) in price units.
        instrument: its tick.
        config: the distances in ATRs.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(price, ("N",), np.float64, "price")
    require_shape(side, price.shape, np.integer, "side")
    require_shape(atr, price.shape, np.float64, "atr")
    return _bracket(price, side, atr, instrument, config)


def _bracket(
    price: FloatArray,
    side: IntArray,
    atr: FloatArray,
    instrument: Instrument,
    config: OrderConfig,
) -> tuple[FloatArray, FloatArray]:
    distances = np.array([[-config.stop_atr], [config.target_atr]])
    stop, target = _round_to_tick(price + side * distances * atr, instrument.tick_size)
    return stop, target


def requested_quantity(
    score: FloatArray, aggressive: BoolArray, instrument: Instrument, config: OrderConfig
) -> FloatArray:
    """Return base x min(confidence / 0.8, cap) in lots (N,), floored, at least one lot step.

    Args:
        score: (N,) float64 confidence of the winning side.
        aggressive: (N,) bool, the entry agent asks for more size.
        instrument: its base quantity and lot step.
        config: the caps.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
        OrderError: the instrument's base_quantity has not been resolved.
    """
    require_shape(score, ("N",), np.float64, "score")
    require_shape(aggressive, score.shape, np.bool_, "aggressive")
    return _requested_quantity(score, aggressive, instrument, config)


def _requested_quantity(
    score: FloatArray, aggressive: BoolArray, instrument: Instrument, config: OrderConfig
) -> FloatArray:
    if instrument.base_quantity is None:
        raise OrderError(f"instrument {instrument.symbol}: base_quantity must be set, found none")
    cap = np.where(aggressive, config.cap_aggressive, config.cap_execute)
    share = np.minimum(score / config.full_size_confidence, cap)
    lots = _floor_to_lot(instrument.base_quantity * share, instrument.lot_step)
    return np.maximum(lots, instrument.lot_step)

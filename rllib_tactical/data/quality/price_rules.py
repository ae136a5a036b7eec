"""What prices show about their scale, against the tick of their instrument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import PRICE_COLUMNS
from rllib_tactical.data.quality.findings import Collector
from rllib_tactical.domain.types import BoolArray, FloatArray, Instrument

MOST_TICKS: Final = 1e9
LEAST_TICKS: Final = 4.0
# Prices that went through 32 bits, or through an adjustment, miss their tick by a little.
_TOLERANCE: Final = 0.02


def check_scale(columns: Columns, instrument: Instrument, collector: Collector) -> None:
    """Add what is wrong with prices as a whole: their scale (error), prices off the tick (warning).

    A share at $700,000 is quoted in 70 million ticks, a coin at $0.05 in five hundred: a typical
    price of a billion ticks, or of fewer than four, is written in another unit.
    """
    prices = [columns.numbers[name].values for name in PRICE_COLUMNS if name in columns.numbers]
    usable = np.isfinite(prices[-1]) & (prices[-1] > 0) if prices else np.zeros(0, dtype=np.bool_)
    if not usable.any():
        return
    typical = float(np.median(prices[-1][usable]))
    ticks = typical / instrument.tick_size
    if not LEAST_TICKS <= ticks < MOST_TICKS:
        collector.add_file(
            "price_scale",
            f"a typical price is {typical:g}, which is {ticks:.3g} ticks of {instrument.symbol} "
            f"({instrument.tick_size:g}): give --price-scale, or another instrument",
        )
        return
    rows = np.flatnonzero(is_off_tick(prices, instrument.tick_size) & usable)
    if rows.size:
        collector.add_rows(
            "off_tick",
            rows[:1],
            f"{rows.size} of {columns.rows} bars have prices that are no multiples of the tick of "
            f"{instrument.symbol}, {instrument.tick_size:g}",
        )


def is_off_tick(prices: Sequence[FloatArray], tick_size: float) -> BoolArray:
    """Return at which bars (T,) one of the ``prices``, each (T,), is no multiple of the tick."""
    off = np.zeros(prices[0].shape, dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        for values in prices:
            steps = values / tick_size
            off |= np.abs(steps - np.rint(steps)) > _TOLERANCE + 1e-12 * np.abs(steps)
    return off

"""Make longer bars of shorter ones, or bars of ticks.

A bar takes the first open, the highest high, the lowest low, the last close and the summed volume
of what falls into its slot. A slot without source rows gives no bar. The first and the last slot
are dropped when the source does not reach their edges.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS, bar_label, require_bar_seconds
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import BAR_COLUMNS, MICROS, TICK_COLUMNS
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns, check_ticks
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, IntArray
from rllib_tactical.errors import DataError


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of an import.

    ``source_seconds`` is the length of the source's bars, None for ticks; ``first_dropped`` and
    ``last_dropped`` say whether the slot at that end was partial.
    """

    bars: Bars
    source: Literal["bars", "ticks"]
    source_seconds: int | None
    rows: int
    first_dropped: bool
    last_dropped: bool


def source_columns(found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that an import needs of a table with the columns ``found``.

    A table with the columns price and size, and not all of open, high, low and close, holds ticks.
    """
    names = {name.strip().lower() for name in found}
    ticks = {"price", "size"} <= names and not set(BAR_COLUMNS) <= names
    return TICK_COLUMNS if ticks else BAR_COLUMNS


def import_columns(
    columns: Columns, *, bar_seconds: int = BAR_SECONDS, now_s: float | None = None
) -> Imported:
    """Check a table of finer bars or ticks (timestamp, price, size) and resample it.

    The length of source bars is the shortest distance that at least 1% of neighbors have. The
    first slot of bars is partial unless a source bar opens with it, the last one unless a source
    bar closes with it. A tick on a slot's edge opens that slot. Ticks do not show that a slot is
    complete, so their last one is dropped, and the first one unless a tick lies on its very start.

    Args:
        columns: parsed with the columns that ``source_columns`` asks for.
        bar_seconds: the length of the new bars.
        now_s: the present as UTC epoch seconds; the clock's time without it.

    Raises:
        DataError: the source breaks rules, is coarser than the target, or gives no whole bar.
        UsageError: bars of that length do not tile a day.
    """
    require_bar_seconds(bar_seconds)
    now_s = time.time() if now_s is None else now_s
    if source_columns(columns.found) == TICK_COLUMNS:
        check_ticks(columns, now_s=now_s).raise_errors("import")
        if columns.timestamps is None:
            raise DataError("import: ticks need the columns timestamp, price and size")
        bars, first, last = _resample_ticks(
            columns.timestamps.micros,
            columns.numbers["price"].values,
            columns.numbers["size"].values,
            bar_seconds,
        )
        return _imported(Imported(bars, "ticks", None, columns.rows, first, last), bar_seconds)
    source_seconds = _source_seconds(columns, bar_seconds)
    check_columns(
        columns, bar_seconds=source_seconds or 1, now_s=now_s, warnings=False
    ).raise_errors("import")
    if source_seconds is None:
        raise DataError("import: one row does not show how long the source's bars are")
    bars, first, last = _resample_bars(bars_from_columns(columns), source_seconds, bar_seconds)
    imported = Imported(bars, "bars", source_seconds, columns.rows, first, last)
    return _imported(imported, bar_seconds)


def _resample_bars(bars: Bars, source_seconds: int, bar_seconds: int) -> tuple[Bars, bool, bool]:
    time_s = bars.timestamp_s
    first_partial = bool(time_s[0] % bar_seconds != 0)
    last_partial = bool((time_s[-1] + source_seconds) % bar_seconds != 0)
    slot = time_s // bar_seconds
    return _aggregate(bars, slot, bar_seconds, first_partial, last_partial)


def _resample_ticks(
    timestamp_us: IntArray, price: FloatArray, size: FloatArray, bar_seconds: int
) -> tuple[Bars, bool, bool]:
    ticks = Bars(timestamp_us, price, price, price, price, size)
    slot_us = bar_seconds * MICROS
    slot = ticks.timestamp_s // slot_us
    first_partial = bool(ticks.timestamp_s[0] % slot_us != 0)
    return _aggregate(ticks, slot, bar_seconds, first_partial, True)


def _aggregate(
    bars: Bars, slot: IntArray, bar_seconds: int, first_partial: bool, last_partial: bool
) -> tuple[Bars, bool, bool]:
    """Group rows by ``slot`` (int64, shape (T,), not falling, T > 0)."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(slot) != 0)))
    ends = np.concatenate((starts[1:], [slot.size])) - 1
    keep: BoolArray = np.ones(starts.size, dtype=np.bool_)
    keep[0] &= not first_partial
    keep[-1] &= not last_partial
    resampled = Bars(
        (slot[starts] * bar_seconds)[keep],
        bars.open[starts][keep],
        np.maximum.reduceat(bars.high, starts)[keep],
        np.minimum.reduceat(bars.low, starts)[keep],
        bars.close[ends][keep],
        np.add.reduceat(bars.volume, starts)[keep],
    )
    return resampled, first_partial, last_partial


def _source_seconds(columns: Columns, bar_seconds: int) -> int | None:
    """Return the length of the source's bars, None if it cannot be told."""
    stamps = columns.timestamps
    if stamps is None:
        return None
    seconds = stamps.micros[~stamps.bad] // MICROS
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    if steps.size == 0:
        return None
    # In a thin market most neighbors are further apart than one bar; a stray time makes few.
    lengths, counts = np.unique(steps, return_counts=True)
    common = int(lengths[counts >= 0.01 * steps.size][0])
    if common > bar_seconds or bar_seconds % common != 0:
        raise DataError(
            f"import: the source's bars are {common} s long; {bar_label(bar_seconds)} bars need "
            "shorter ones, a whole number of which make up a target bar"
        )
    return common


def _imported(imported: Imported, bar_seconds: int) -> Imported:
    if len(imported.bars) == 0:
        raise DataError(
            f"import: {imported.rows} rows give no complete {bar_label(bar_seconds)} bar"
        )
    return imported

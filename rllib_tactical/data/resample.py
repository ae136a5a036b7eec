"""Make longer bars of shorter ones, or bars of ticks.

A bar takes the first open, the highest high, the lowest low, the last close and the summed volume
of what falls into its slot. A slot without source rows gives no bar. The first and the last slot
are dropped when the source does not reach their edges.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS, bar_label, require_bar_seconds
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality.findings import NO_FINDINGS, CheckReport
from rllib_tactical.data.quality.rules import (
    bars_from_columns,
    check_bars,
    check_columns,
    check_ticks,
)
from rllib_tactical.data.quality.steps import common_step_s
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, Instrument, IntArray
from rllib_tactical.errors import DataError


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of an import.

    ``source_seconds`` is the length of the source's bars, None for ticks; ``first_dropped`` and
    ``last_dropped`` say whether the slot at that end was partial. Of the bars between,
    ``partial`` were made of fewer than ``rows_per_bar`` rows, ``fewest_rows`` at least, and
    ``partial_dropped`` of too few. ``report`` is what a check of the new bars finds, with the
    source's times that name no zone.
    """

    bars: Bars
    source: Literal["bars", "ticks"]
    source_seconds: int | None
    rows: int
    first_dropped: bool
    last_dropped: bool
    rows_per_bar: int | None = None
    partial: int = 0
    fewest_rows: int = 0
    partial_dropped: int = 0
    report: CheckReport = NO_FINDINGS

    @property
    def partial_text(self) -> str:
        """What is to be said of bars made of too few rows, empty if there are none."""
        if not self.partial:
            return ""
        whole = len(self.bars) + self.partial_dropped
        text = (
            f"{self.partial:,} of {whole:,} bars are made of fewer than {self.rows_per_bar} rows, "
            f"the fewest {self.fewest_rows}"
        )
        return f"{text}; {self.partial_dropped:,} of them dropped"


def import_columns(
    columns: Columns,
    *,
    bar_seconds: int = BAR_SECONDS,
    instrument: Instrument | None = None,
    min_share: float = 0.0,
    now_s: float | None = None,
) -> Imported:
    """Check a table of finer bars or ticks (timestamp, price, size) and resample it.

    The length of source bars is the shortest distance that at least 1% of neighbors have. The
    first slot of bars is partial unless a source bar opens with it, the last one unless a source
    bar closes with it. A tick on a slot's edge opens that slot. Ticks do not show that a slot is
    complete, so their last one is dropped, and the first one unless a tick lies on its very start.

    Args:
        columns: of bars, or of ticks.
        bar_seconds: the length of the new bars.
        instrument: supplies the calendar and the tick of the warnings, if it is known.
        min_share: bars made of a smaller share of the rows that they have room for are dropped.
        now_s: the present as UTC epoch seconds; the clock's time without it.

    Raises:
        DataError: the source breaks rules, is coarser than the target, or gives no whole bar.
        UsageError: bars of that length do not tile a day.
    """
    require_bar_seconds(bar_seconds)
    now_s = time.time() if now_s is None else now_s
    if "price" in columns.numbers:
        check_ticks(columns, now_s=now_s).raise_errors("import")
        if columns.timestamps is None:
            raise DataError("import: ticks need the columns timestamp, price and size")
        bars, first, last = _resample_ticks(
            columns.timestamps.micros,
            columns.numbers["price"].values,
            columns.numbers["size"].values,
            bar_seconds,
        )
        ticks = Imported(bars, "ticks", None, columns.rows, first, last)
        return _checked(ticks, columns, bar_seconds, instrument, now_s)
    source_seconds = _source_seconds(columns, bar_seconds)
    check_columns(
        columns,
        bar_seconds=source_seconds or 1,
        instrument=instrument,
        now_s=now_s,
        warnings=False,
        up_to_seconds=bar_seconds,
    ).raise_errors("import")
    if source_seconds is None:
        raise DataError("import: one row does not show how long the source's bars are")
    imported = _resample_bars(bars_from_columns(columns), source_seconds, bar_seconds, min_share)
    return _checked(imported, columns, bar_seconds, instrument, now_s)


def _resample_bars(bars: Bars, source_seconds: int, bar_seconds: int, min_share: float) -> Imported:
    time_s = bars.timestamp_s
    first_partial = bool(time_s[0] % bar_seconds != 0)
    last_partial = bool((time_s[-1] + source_seconds) % bar_seconds != 0)
    slot = time_s // bar_seconds
    made, rows = _aggregate(bars, slot, bar_seconds, first_partial, last_partial)
    room = bar_seconds // source_seconds
    partial = rows < room
    few = rows < min_share * room
    kept = Bars(*(getattr(made, field.name)[~few] for field in fields(Bars)))
    return Imported(
        kept,
        "bars",
        source_seconds,
        len(bars),
        first_partial,
        last_partial,
        rows_per_bar=room,
        partial=int(np.count_nonzero(partial)),
        fewest_rows=int(rows.min()) if rows.size else 0,
        partial_dropped=int(np.count_nonzero(few)),
    )


def _resample_ticks(
    timestamp_us: IntArray, price: FloatArray, size: FloatArray, bar_seconds: int
) -> tuple[Bars, bool, bool]:
    ticks = Bars(timestamp_us, price, price, price, price, size)
    slot_us = bar_seconds * MICROS
    slot = ticks.timestamp_s // slot_us
    first_partial = bool(ticks.timestamp_s[0] % slot_us != 0)
    made, _ = _aggregate(ticks, slot, bar_seconds, first_partial, True)
    return made, first_partial, True


def _aggregate(
    bars: Bars, slot: IntArray, bar_seconds: int, first_partial: bool, last_partial: bool
) -> tuple[Bars, IntArray]:
    """Group rows by ``slot`` (int64, shape (T,), not falling, T > 0).

    Returns the bars, and of how many rows each is made.
    """
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
    return resampled, (ends - starts + 1)[keep]


def _source_seconds(columns: Columns, bar_seconds: int) -> int | None:
    """Return the length of the source's bars, None if it cannot be told."""
    stamps = columns.timestamps
    common = None if stamps is None else common_step_s(stamps.micros[~stamps.bad])
    if common is not None and (common > bar_seconds or bar_seconds % common != 0):
        raise DataError(
            f"import: the source's bars are {common} s long; {bar_label(bar_seconds)} bars need "
            "shorter ones, a whole number of which make up a target bar"
        )
    return common


def _checked(
    imported: Imported,
    columns: Columns,
    bar_seconds: int,
    instrument: Instrument | None,
    now_s: float,
) -> Imported:
    """Refuse an import without bars, and add what a check of the new file would find."""
    if len(imported.bars) == 0:
        raise DataError(
            f"import: {imported.rows} rows give no complete {bar_label(bar_seconds)} bar"
        )
    stamps = columns.timestamps
    naive = 0 if stamps is None else int(np.count_nonzero(stamps.naive))
    report = check_bars(imported.bars, bar_seconds, instrument, naive, now_s, columns.symbols)
    return replace(imported, report=report)

"""Repair a table of bars, and say what was changed.

A repair never invents a bar and never guesses a value that the row itself does not imply. Rows
are sorted; of several rows with one time the first stays; a high or low that does not span the
open and close is moved until it does; rows that cannot be mended are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS, bar_label, require_bar_seconds
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import MICROS, NUMBER_COLUMNS, PRICE_COLUMNS
from rllib_tactical.data.quality.findings import CheckReport, iso_time
from rllib_tactical.data.quality.rules import check_columns, usable_rows
from rllib_tactical.domain.types import BoolArray, FloatArray, Instrument, IntArray
from rllib_tactical.errors import DataError

MOST_BROKEN: Final = 0.05
"""The most rows that may break a rule, as a share, for a repair."""

_OF_THE_FILE: Final = ("wrong_bar_length", "wrong_zone", "price_scale")
_CAUSES: Final = {
    "wrong_bar_length": "use data import, or another --bar",
    "wrong_zone": "use another --tz",
    "price_scale": "use --price-scale, or another --instrument",
    "long_row": "the delimiter stands in numbers, as in 1,234",
    "unparsable_cell": "use --format, --columns, --decimal or --day-first",
    "impossible_time": "use another --tz",
    "not_finite": "another column is meant: use --columns",
    "in_future": "the times have another unit, order or zone: use --day-first or --tz",
    "price_not_positive": "another column is meant: use --columns",
    "high_too_low": "other columns are meant: use --columns",
    "low_too_high": "other columns are meant: use --columns",
    "negative_volume": "another column is meant: use --columns",
    "duplicate_timestamp": "the file holds several symbols or series: use --symbol",
    "out_of_order": "the file holds several symbols or series: use --symbol",
    "off_grid": "the times are not those at which bars open: use --bar or --stamp",
}
"""The likely cause where a rule is broken by many rows, the first one that counts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a repair did.

    ``row`` is the 0-based data row of the original file, None for a change of the whole file;
    ``action`` is ``dropped``, ``raised_high``, ``lowered_low``, ``sorted`` or ``set_timezone``.
    """

    row: int | None
    timestamp: str | None
    rule: str
    action: str
    message: str


def repair_columns(
    columns: Columns,
    *,
    bar_seconds: int = BAR_SECONDS,
    instrument: Instrument | None = None,
    now_s: float | None = None,
) -> tuple[pd.DataFrame, list[Change]]:
    """Return a repaired table and the list of changes; the table has no errors.

    Where more than 5% of the rows break one rule, or the rows are of another length, zone or scale,
    the interpretation is wrong and not the rows: then nothing is repaired. The table has the
    columns timestamp (datetime64[us, UTC]), open, high, low, close and volume (float64), in time
    order. ``columns`` are left as they are.

    Args:
        columns: of the file.
        bar_seconds: the length of a bar.
        instrument: supplies calendar and tick, if it is known.
        now_s: the present as UTC epoch seconds; the clock's time without it.

    Raises:
        DataError: a column is missing or repeated, or the interpretation is wrong.
        UsageError: bars of that length do not tile a day.
    """
    require_bar_seconds(bar_seconds)
    now_s = time.time() if now_s is None else now_s
    stamps = columns.timestamps
    if stamps is None or columns.missing or columns.repeated or columns.rows == 0:
        check_columns(columns, bar_seconds=bar_seconds, warnings=False).raise_errors("repair")
        raise DataError("repair: every column is required exactly once")
    _refuse_wrong_interpretation(
        check_columns(columns, bar_seconds=bar_seconds, instrument=instrument, now_s=now_s)
    )
    values = {name: columns.numbers[name].values.copy() for name in NUMBER_COLUMNS}
    log = _Log(stamps.micros, ~stamps.bad)

    naive = int(np.count_nonzero(stamps.naive))
    if naive:
        log.whole("naive_timestamps", "set_timezone", f"{naive} timestamps are now marked as UTC")
    keep = usable_rows(columns)
    log.rows(~keep, "unparsable_cell", "dropped", "a cell holds no finite number or time")
    keep = log.drop(
        keep,
        np.minimum.reduce([values[name] for name in PRICE_COLUMNS]) <= 0,
        "price_not_positive",
        "a price is not above zero",
    )
    keep = log.drop(keep, values["volume"] < 0, "negative_volume", "the volume is negative")
    off_grid = stamps.micros % (bar_seconds * MICROS) != 0
    keep = log.drop(keep, off_grid, "off_grid", f"not on the {bar_label(bar_seconds)} grid")
    keep = log.drop(keep, stamps.micros > now_s * MICROS, "in_future", "lies after the present")
    _mend_ranges(values, keep, log)
    order = _sort_and_deduplicate(stamps.micros, values, np.flatnonzero(keep), log)
    moments = pd.DatetimeIndex(stamps.micros[order].astype("datetime64[us]")).tz_localize("UTC")
    repaired = pd.DataFrame({"timestamp": moments})
    for name in NUMBER_COLUMNS:
        repaired[name] = values[name][order]
    return repaired, log.changes()


def _refuse_wrong_interpretation(report: CheckReport) -> None:
    """Refuse to repair what is read wrongly: every row would be changed into something untrue."""
    for rule, cause in _CAUSES.items():
        count = report.counts.get(rule, 0)
        if count and (rule in _OF_THE_FILE or count > MOST_BROKEN * report.rows):
            first = next(finding for finding in report.findings if finding.rule == rule)
            raise DataError(
                f"repair: {rule} in {count:,} of {report.rows:,} rows: the interpretation is "
                f"wrong, not the rows ({first.message}); {cause}"
            )


def _mend_ranges(values: dict[str, FloatArray], keep: BoolArray, log: _Log) -> None:
    high, low = values["high"], values["low"]
    top = np.maximum(values["open"], values["close"])
    bottom = np.minimum(values["open"], values["close"])
    for rule, action, column, bound, wrong in (
        ("high_too_low", "raised_high", high, top, keep & (high < top)),
        ("low_too_high", "lowered_low", low, bottom, keep & (low > bottom)),
    ):
        old = column.copy()
        column[wrong] = bound[wrong]
        log.rows(wrong, rule, action, _from_to(old, bound))


def _from_to(old: FloatArray, new: FloatArray) -> Callable[[int], str]:
    return lambda row: f"{old[row]} became {new[row]}"


def _sort_and_deduplicate(
    micros: IntArray, values: dict[str, FloatArray], rows: IntArray, log: _Log
) -> IntArray:
    """Return the kept rows in time order, one per time."""
    order = rows[np.argsort(micros[rows], kind="stable")]
    moved = int(np.count_nonzero(np.diff(micros[rows]) < 0))
    if moved:
        log.whole(
            "out_of_order", "sorted", f"sorted by time; {moved} rows lay before the row above"
        )
    if order.size == 0:
        return order
    starts = np.concatenate(([True], np.diff(micros[order]) != 0))
    kept = order[starts][np.cumsum(starts) - 1]
    again = ~starts
    same = np.logical_and.reduce([column[order] == column[kept] for column in values.values()])
    original = np.zeros(micros.size, dtype=np.int64)
    original[order] = kept
    for mask, text in (
        (again & same, "same time and values as row {}"),
        (again & ~same, "same time as row {} but other values; the first row was kept"),
    ):
        dropped = np.zeros(micros.size, dtype=np.bool_)
        dropped[order[mask]] = True
        log.rows(dropped, "duplicate_timestamp", "dropped", _naming(text, original))
    return order[starts]


def _naming(text: str, original: IntArray) -> Callable[[int], str]:
    return lambda row: text.format(original[row])


class _Log:
    """Collects changes in the order in which they are made."""

    def __init__(self, micros: IntArray, known: BoolArray) -> None:
        self._micros = micros
        self._known = known
        self._changes: list[Change] = []

    def whole(self, rule: str, action: str, message: str) -> None:
        self._changes.append(Change(None, None, rule, action, message))

    def rows(
        self, mask: BoolArray, rule: str, action: str, message: str | Callable[[int], str]
    ) -> None:
        for row in np.flatnonzero(mask).tolist():
            when = iso_time(int(self._micros[row])) if self._known[row] else None
            text = message if isinstance(message, str) else message(row)
            self._changes.append(Change(row, when, rule, action, text))

    def drop(self, keep: BoolArray, wrong: BoolArray, rule: str, message: str) -> BoolArray:
        self.rows(keep & wrong, rule, "dropped", message)
        return keep & ~wrong

    def changes(self) -> list[Change]:
        return sorted(self._changes, key=lambda change: -1 if change.row is None else change.row)

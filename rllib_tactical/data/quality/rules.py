"""Check a table of bars against every rule of a bar file.

Errors make data unusable: training, backtest and service refuse it. Warnings are for a person to
judge. Rows are numbered from 0 for the first data row of the file; the header and blank lines do
not count.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS, bar_label, require_bar_seconds
from rllib_tactical.data.calendar.schedules import FIRST_S, LAST_S
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import (
    BAR_COLUMNS,
    MICROS,
    NUMBER_COLUMNS,
    PRICE_COLUMNS,
    Numbers,
    Timestamps,
)
from rllib_tactical.data.quality.findings import (
    MAX_PER_RULE,
    CheckReport,
    Collector,
    iso_time,
)
from rllib_tactical.data.quality.market_rules import check_market
from rllib_tactical.data.quality.price_rules import check_scale
from rllib_tactical.data.quality.steps import WrongLength, wrong_length
from rllib_tactical.data.quality.symbol_rules import check_symbol
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, Instrument, IntArray


def check_columns(
    columns: Columns,
    *,
    bar_seconds: int = BAR_SECONDS,
    instrument: Instrument | None = None,
    now_s: float | None = None,
    max_per_rule: int = MAX_PER_RULE,
    warnings: bool = True,
    up_to_seconds: int = 0,
) -> CheckReport:
    """Return every finding about a table of bars.

    Args:
        columns: parsed with the columns of bars.
        bar_seconds: the length of a bar, and so the grid that timestamps must lie on.
        instrument: supplies the session calendar of the warnings; ``24/7`` without it.
        now_s: the present as UTC epoch seconds; the clock's time without it.
        max_per_rule: how many findings of each rule to keep (10 at least); all are counted.
        warnings: whether to look for what is for a person to judge too.
        up_to_seconds: bars may regularly be that far apart, as an import's slots may lack rows.

    Raises:
        UsageError: bars of that length do not tile a day.
        ConfigError: the instrument's calendar or time zone does not exist.
    """
    require_bar_seconds(bar_seconds)
    now_s = time.time() if now_s is None else now_s
    collector = _collector(columns, max_per_rule)
    _check_shape(columns, collector, BAR_COLUMNS)
    if columns.rows == 0:
        return collector.report(0)
    _check_cells(columns, collector)
    _check_prices(columns, collector)
    if instrument is not None:
        check_scale(columns, instrument, collector)
        check_symbol(columns, instrument, collector)
    _check_timestamps(columns, collector, bar_seconds, now_s, up_to_seconds)
    if warnings and not columns.missing and not columns.repeated:
        _check_warnings(columns, collector, bar_seconds, instrument, now_s)
    return collector.report(columns.rows)


def check_ticks(columns: Columns, *, now_s: float | None = None) -> CheckReport:
    """Check ticks: cells, prices > 0, sizes >= 0 and times that never fall.

    ``columns`` were parsed with the tick columns timestamp, price and size. Ticks may share a
    timestamp and lie on no grid.
    """
    collector = _collector(columns, MAX_PER_RULE)
    _check_shape(columns, collector, ("timestamp", "price", "size"))
    if columns.rows == 0:
        return collector.report(0)
    _check_cells(columns, collector)
    for name, rule in (("price", "price_not_positive"), ("size", "negative_volume")):
        if name in columns.numbers:
            values = _finite_or_nan(columns.numbers[name].values)
            low = values <= 0 if name == "price" else values < 0
            _add_values(collector, rule, low, name, values)
    _check_timestamps(columns, collector, None, time.time() if now_s is None else now_s)
    return collector.report(columns.rows)


def check_bars(
    bars: Bars,
    bar_seconds: int,
    instrument: Instrument | None,
    naive: int,
    now_s: float,
    symbols: tuple[str, ...] = (),
) -> CheckReport:
    """Return the findings about bars in memory, made of rows of which ``naive`` named no zone.

    ``symbols`` are what the rows say they are of.
    """
    micros = bars.timestamp_s * MICROS
    good = np.zeros(len(bars), dtype=np.bool_)
    unnamed = good.copy()
    unnamed[: min(naive, len(bars))] = True
    columns = Columns(
        rows=len(bars),
        missing=(),
        repeated=(),
        found=BAR_COLUMNS,
        timestamps=Timestamps(micros, good, unnamed),
        numbers={name: Numbers(getattr(bars, name), good) for name in NUMBER_COLUMNS},
        raw={},
        symbols=symbols,
    )
    return check_columns(columns, bar_seconds=bar_seconds, instrument=instrument, now_s=now_s)


def bars_from_columns(columns: Columns, keep: BoolArray | None = None) -> Bars:
    """Return the rows marked by ``keep`` (all without it) as bars; they must be parsable."""
    chosen = slice(None) if keep is None else keep
    stamps = columns.timestamps
    micros = stamps.micros if stamps is not None else np.zeros(0, dtype=np.int64)
    return Bars(
        micros[chosen] // MICROS,
        *(columns.numbers[name].values[chosen] for name in NUMBER_COLUMNS),
    )


def usable_rows(columns: Columns) -> BoolArray:
    """Mark rows whose every required cell holds a finite number or a time."""
    stamps = columns.timestamps
    usable = ~stamps.bad if stamps is not None else np.zeros(columns.rows, dtype=np.bool_)
    for numbers in columns.numbers.values():
        usable = usable & np.isfinite(numbers.values)
    return usable


def _collector(columns: Columns, max_per_rule: int) -> Collector:
    stamps = columns.timestamps
    if stamps is None:
        unknown = np.zeros(columns.rows, dtype=np.bool_)
        zeros = np.zeros(columns.rows, dtype=np.int64)
        return Collector(zeros, unknown, max_per_rule, columns.row_numbers)
    return Collector(stamps.micros, ~stamps.bad, max_per_rule, columns.row_numbers)


def _check_shape(columns: Columns, collector: Collector, required: tuple[str, ...]) -> None:
    if columns.rows == 0:
        collector.add_file("empty_file", "at least one row of data is required, found none")
        if not columns.found:
            return
    shown = ", ".join(name[:40] for name in columns.found[:20]) or "none"
    for name in columns.missing:
        collector.add_file(
            "missing_column",
            f"column {name!r} is required ({', '.join(required)}); found: {shown}; "
            f"--columns {name}=COLUMN tells which one it is"
            + (f", --columns {name}=none that there is none" if name == "volume" else ""),
        )
    for name in columns.repeated:
        collector.add_file("duplicate_column", f"column {name!r} appears more than once")


def _check_cells(columns: Columns, collector: Collector) -> None:
    stamps = columns.timestamps
    if columns.long_rows is not None:
        rows = columns.long_rows
        if columns.row_numbers is not None:
            rows = np.flatnonzero(np.isin(columns.row_numbers, rows))
        collector.add_rows(
            "long_row",
            rows,
            f"the row has more cells than the header names columns, {len(columns.found)}: cells "
            "with the delimiter in them?",
        )
    if stamps is not None:
        bad = stamps.bad
        if columns.impossible is not None:
            collector.add_rows(
                "impossible_time",
                columns.impossible,
                "clocks of the time zone skip this time, or show it twice: another --tz?",
            )
            bad = bad & ~columns.impossible
        collector.add_rows(
            "unparsable_cell",
            bad,
            lambda row: (
                f"timestamp is {_cell(columns, 'timestamp', row)}, "
                "expected ISO-8601 or epoch seconds or milliseconds"
            ),
        )
    for name, numbers in columns.numbers.items():
        not_finite = ~np.isfinite(numbers.values) & ~numbers.bad
        describe = partial(_describe, columns, name)
        collector.add_rows("unparsable_cell", numbers.bad, describe)
        collector.add_rows("not_finite", not_finite, describe)


def _check_prices(columns: Columns, collector: Collector) -> None:
    # NaN compares false: a cell that is already reported breaks no further rule.
    values = {name: _finite_or_nan(numbers.values) for name, numbers in columns.numbers.items()}
    for name in PRICE_COLUMNS:
        if name in values:
            _add_values(collector, "price_not_positive", values[name] <= 0, name, values[name])
    if all(name in values for name in PRICE_COLUMNS):
        high, low = values["high"], values["low"]
        top = np.maximum(values["open"], values["close"])
        bottom = np.minimum(values["open"], values["close"])
        collector.add_rows(
            "high_too_low",
            high < top,
            lambda row: f"high {high[row]} is below the open or close, {top[row]}",
        )
        collector.add_rows(
            "low_too_high",
            low > bottom,
            lambda row: f"low {low[row]} is above the open or close, {bottom[row]}",
        )
    if "volume" in values:
        volume = values["volume"]
        _add_values(collector, "negative_volume", volume < 0, "volume", volume)


def _check_timestamps(
    columns: Columns,
    collector: Collector,
    bar_seconds: int | None,
    now_s: float,
    up_to_seconds: int = 0,
) -> None:
    """Check order and, when ``bar_seconds`` is given, uniqueness and grid."""
    stamps = columns.timestamps
    if stamps is None:
        return
    rows = np.flatnonzero(~stamps.bad)
    micros = stamps.micros[rows]
    step = np.diff(micros)
    collector.add_rows(
        "out_of_order",
        rows[1:][step < 0],
        "the time lies before that of the row above",
    )
    collector.add_rows(
        "in_future",
        rows[micros > now_s * MICROS],
        f"the time lies after the present, {iso_time(int(now_s) * MICROS)}",
    )
    if bar_seconds is None:
        return
    wrong = wrong_length(micros, bar_seconds, up_to_seconds)
    if wrong is not None:
        _add_wrong_length(collector, wrong, rows, bar_seconds)
    if np.any(step <= 0):
        order = np.argsort(micros, kind="stable")
        again = np.zeros(rows.size, dtype=np.bool_)
        again[order[1:]] = np.diff(micros[order]) == 0
        collector.add_rows("duplicate_timestamp", rows[again], "a row above has the same time")
    if wrong is None or wrong.step_s >= bar_seconds:
        collector.add_rows(
            "off_grid",
            rows[micros % (bar_seconds * MICROS) != 0],
            f"the time is not on the {bar_label(bar_seconds)} grid",
        )


def _add_wrong_length(
    collector: Collector, wrong: WrongLength, rows: IntArray, bar_seconds: int
) -> None:
    label = bar_label(bar_seconds)
    where = "the rows" if wrong.share > 0.5 else f"{wrong.share:.0%} of the rows, from here on,"
    advice = "bars of this length cannot be made of them"
    if wrong.step_s < bar_seconds and bar_seconds % wrong.step_s == 0:
        advice = f"data import --bar {label} resamples them"
    collector.add_rows(
        "wrong_bar_length",
        rows[[wrong.row]],
        f"{where} are {wrong.text} apart: these are {wrong.text} bars, not {label} bars; {advice}",
    )


def _check_warnings(
    columns: Columns,
    collector: Collector,
    bar_seconds: int,
    instrument: Instrument | None,
    now_s: float,
) -> None:
    stamps = columns.timestamps
    if stamps is None:
        return
    naive = int(np.count_nonzero(stamps.naive))
    if naive:
        first = np.flatnonzero(stamps.naive)[:1]
        collector.add_rows(
            "naive_timestamps",
            first,
            f"{naive} of {columns.rows} timestamps name no time zone; they are read as UTC",
        )
    # A time outside of all calendars would make the span of the data, and the work, immense.
    sane = (stamps.micros >= FIRST_S * MICROS) & (stamps.micros <= min(now_s, LAST_S) * MICROS)
    rows = np.flatnonzero(usable_rows(columns) & sane)
    micros = stamps.micros[rows]
    # What follows is about a market over time, so it looks at the rows in time order, one per
    # time, and keeps their numbers in the file.
    if np.any(np.diff(micros) <= 0):
        order = np.argsort(micros, kind="stable")
        order = order[np.concatenate(([True], np.diff(micros[order]) > 0))]
        rows = rows[order]
    positive = np.ones(rows.size, dtype=np.bool_)
    for name in PRICE_COLUMNS:
        positive &= columns.numbers[name].values[rows] > 0
    rows = rows[positive]
    if rows.size:
        # Rows of a file without faults are the arrays themselves, which need not be copied.
        whole = rows.size == columns.rows and bool(np.all(rows[1:] > rows[:-1]))
        chosen = slice(None) if whole else rows
        market: list[FloatArray] = [columns.numbers[name].values[chosen] for name in NUMBER_COLUMNS]
        bars = Bars(stamps.micros[chosen] // MICROS, *market)
        check_market(bars, rows, collector, bar_seconds, instrument)


def _add_values(
    collector: Collector, rule: str, mask: BoolArray, name: str, values: FloatArray
) -> None:
    need = "> 0" if rule == "price_not_positive" else ">= 0"
    collector.add_rows(rule, mask, lambda row: f"{name} is {values[row]}, must be {need}")


def _finite_or_nan(values: FloatArray) -> FloatArray:
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _describe(columns: Columns, name: str, row: int) -> str:
    return f"{name} is {_cell(columns, name, row)}, expected a finite number"


def _cell(columns: Columns, name: str, row: int) -> str:
    text = str(columns.raw[name].loc[row])
    return repr(text if len(text) <= 40 else f"{text[:40]}...") if text else "empty"

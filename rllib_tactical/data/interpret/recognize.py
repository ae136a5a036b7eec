"""From an open file and what the user says to its layout: recognized for certain, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rllib_tactical.data.interpret.aliases import ALIASES, base_volume, zone_of_column
from rllib_tactical.data.interpret.formats import FORMATS, Format, normalized
from rllib_tactical.data.interpret.lean import is_lean_name, lean_day, lean_scale
from rllib_tactical.data.interpret.numerals import numerals_of
from rllib_tactical.data.interpret.options import NO_COLUMN, SYMBOL, ReadOptions
from rllib_tactical.data.io.dates import (
    DatePattern,
    date_pattern,
    day_comes_first,
    fitting_patterns,
    is_iso,
)
from rllib_tactical.data.io.layout import DATE, TIME, Layout, Numerals
from rllib_tactical.data.io.parse import BAR_COLUMNS, TICK_COLUMNS
from rllib_tactical.data.io.scan import Scan
from rllib_tactical.errors import UsageError

_NUMBER: Final = re.compile(r"[+-]?(\d[\d., ']*|\.\d+)([eE][+-]?\d+)?")
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d.*|\d{4}|\d{6}")
# Header lines above the names of the columns: a title, the tickers of a table of several.
_HEADER_ROWS: Final = 6


@dataclass(frozen=True, slots=True)
class Table:
    """What recognition looks at: names, rows below the header, and how many rows that takes."""

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    header_rows: int
    keys: tuple[str, ...]
    tickers: tuple[str, ...] = ()

    def column(self, position: int) -> list[str]:
        """Return the sampled cells of a column that are not empty."""
        cells = (row[position] for row in self.rows if position < len(row))
        return [cell for cell in cells if cell]


def recognize(scan: Scan, options: ReadOptions, *, ticks: bool = False) -> Layout:
    """Return the layout of an open file, whose data then begin behind its header.

    Args:
        scan: the open file.
        options: what the user says about it.
        ticks: whether a file of ticks will do.

    Raises:
        UsageError: the file does not fit what was said, or is known only when more is said; the
            message names the option.
    """
    table = _table(scan, options)
    chosen = _format(table, options)
    if chosen is not None and not table.header_rows and not options.header_names():
        names = chosen.names[: len(table.names)] + table.names[len(chosen.names) :]
        if chosen.name == "histdata" and len(table.names) == 7:
            names = FORMATS["mt4"].names
        table = replace(table, names=names, keys=names)
    if scan.text is not None:
        scan.text.begin_at(table.header_rows, table.names)
    elif options.header_names():
        raise UsageError(
            f"--columns: {table.path.name} names its columns: write NAME=COLUMN to map them"
        )
    required = _required(table, options, ticks)
    layout = _roles(table, options, chosen, required)
    layout = _with_times(layout, table, options, chosen)
    layout = _with_numbers(layout, table, options, chosen)
    return _with_symbol(layout, table, options)


def _table(scan: Scan, options: ReadOptions) -> Table:
    """Find the header: the first row that names columns; no row where the first holds numbers."""
    path, names, rows = scan.path, scan.names, scan.sample
    if scan.text is None:
        keys, tickers = _split_tickers(tuple(map(normalized, names)))
        return Table(path, names, rows, 1, keys, tickers)
    listed = options.header_names()
    if listed:
        if rows and len(rows[0]) != len(listed):
            raise UsageError(
                f"--columns: found {len(listed)} names, the first row of {path.name} has "
                f"{len(rows[0])} cells"
            )
        if rows and not _is_data(rows[0]):
            raise UsageError(
                f"--columns: {path.name} has a header, {_shown(rows[0])}: write NAME=COLUMN to map "
                "its names"
            )
        return Table(path, listed, rows, 0, listed)
    if rows and _is_data(rows[0]) and not options.column_names():
        numbered = tuple(str(number) for number in range(len(rows[0])))
        return Table(path, numbered, rows, 0, numbered)
    at = _header_at(rows)
    if at is None:
        return Table(path, names, rows[1:], 1, tuple(map(normalized, names)))
    header = tuple(rows[at])
    keys = tuple(map(normalized, header))
    table = Table(path, header, rows[at + 1 :], at + 1, keys)
    return _wide(table) if keys[:1] == ("price",) else table


def _wide(table: Table) -> Table:
    """Return a table of yfinance: names of columns, then tickers, then the name of the times."""
    if len(table.rows) < 2 or table.rows[0][:1] != ["Ticker"]:
        return table
    tickers, times = table.rows[0], table.rows[1]
    names = (times[0], *table.names[1:])
    keys = tuple(map(normalized, names))
    return Table(table.path, names, table.rows[2:], table.header_rows + 2, keys, ("", *tickers[1:]))


def _split_tickers(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split names such as ``('close', 'aapl')``, as pandas writes a table of several tickers."""
    pairs = [re.fullmatch(r"\('?([^']+)'?, '?([^']*)'?\)?", key) for key in keys]
    if not any(pairs):
        return keys, ()
    plain = tuple(key if pair is None else pair[1] for key, pair in zip(keys, pairs, strict=True))
    tickers = tuple("" if pair is None else pair[2].upper() for pair in pairs)
    return plain, tickers


def _header_at(rows: list[list[str]]) -> int | None:
    known = {alias for names in ALIASES.values() for alias in names}
    for at, row in enumerate(rows[:_HEADER_ROWS]):
        if sum(normalized(cell) in known for cell in row) >= 4:
            return at
    return None


def _is_data(row: Sequence[str]) -> bool:
    """Return whether a row holds numbers and times, and no names."""
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in row)
    return numbers >= 4 and numbers >= 0.6 * len(row)


def _format(table: Table, options: ReadOptions) -> Format | None:
    """Return the format that the user names, or the one that the file shows for certain."""
    first = table.rows[0] if table.rows else []
    headed = table.header_rows > 0
    fitting = [entry for entry in FORMATS.values() if entry.fits(table.keys, first, headed)]
    if options.format is not None:
        entry = FORMATS.get(options.format)
        if entry is None:
            raise UsageError(f"--format: found {options.format!r}, expected {', '.join(FORMATS)}")
        if entry not in fitting and not options.columns:
            raise UsageError(
                f"--format {entry.name}: {table.path.name} is not laid out so: expected rows such "
                f"as {entry.example}; its first row is {_shown(table.names if headed else first)}"
            )
        return entry
    if table.tickers:
        return FORMATS["yfinance"]
    if table.keys == tuple("012345") and headed:
        return FORMATS["freqtrade"]  # lists of six numbers in a JSON file
    if is_lean_name(table.path) and FORMATS["lean"] in fitting:
        return FORMATS["lean"]
    certain = [entry for entry in fitting if entry.certain]
    if certain:
        return certain[0]
    if headed or options.header_names() or not table.rows:
        return None
    if fitting:
        names = " or ".join(f"--format {entry.name}" for entry in fitting)
        raise UsageError(
            f"{table.path.name}: rows such as {_shown(first)} are written by several programs, "
            f"with other zones and stamps: give {names}"
        )
    raise UsageError(
        f"{table.path.name} has no header, its first row is {_shown(first)}: name the columns with "
        "--columns timestamp,open,high,low,close,volume in the file's order"
    )


def _required(table: Table, options: ReadOptions, ticks: bool) -> tuple[str, ...]:
    mapped = {*options.column_names()}
    found = {*table.keys} | mapped
    is_ticks = {"price", "size"} <= found and not {"open", "high", "low", "close"} <= found
    return TICK_COLUMNS if ticks and is_ticks else BAR_COLUMNS


def _roles(
    table: Table, options: ReadOptions, chosen: Format | None, required: tuple[str, ...]
) -> Layout:
    """Find each required column: by the user's name, the format's, or the usual ones."""
    mapped = options.column_names()
    keys = table.keys
    if table.tickers:
        keys = _of_ticker(table, options)
    positions: dict[str, int] = {}
    repeated: list[str] = []
    no_volume = mapped.get("volume", "").lower() == NO_COLUMN
    for role in required:
        if role == "volume" and no_volume:
            continue
        names: tuple[str, ...] = ALIASES[role]
        if role in mapped:
            names = (normalized(mapped[role]),)
            if not names[0] or names[0] not in keys:
                raise UsageError(
                    f"--columns: {table.path.name} has no column {mapped[role]!r}, found "
                    f"{_shown(table.names)}"
                )
        elif chosen is not None:
            names = (*chosen.columns.get(role, ()), *names)
        name = next((name for name in names if name in keys), None)
        if name is None and role == "volume":
            symbols = table.column(keys.index("symbol")) if "symbol" in keys else []
            at = base_volume(keys, symbols[0] if symbols else None)
            if at is not None:
                positions[role] = at
                continue
        if name is None:
            continue
        if keys.count(name) > 1 and (chosen is None or chosen.name != "sierra"):
            repeated.append(role)
        positions[role] = keys.index(name)
    if not {"timestamp"} & mapped.keys():
        _split_times(table, keys, mapped, positions)
    return Layout(
        names=table.names,
        required=required,
        positions={role: at for role, at in positions.items()},
        missing=tuple(
            role
            for role in required
            if role not in positions
            and not (role == "timestamp" and DATE in positions)
            and not (role == "volume" and no_volume)
        ),
        repeated=tuple(repeated),
        format=None if chosen is None else chosen.name,
        header_rows=table.header_rows,
        zero_volume=no_volume,
        stamp=None if chosen is None else chosen.stamp,
    )


def _split_times(
    table: Table, keys: tuple[str, ...], mapped: dict[str, str], positions: dict[str, int]
) -> None:
    """Use the columns date and time together, where neither is a whole time."""
    date, time = (normalized(mapped.get(role, role)) for role in (DATE, TIME))
    if date not in keys or time not in keys:
        return
    found = positions.get("timestamp")
    if found is not None and keys[found] not in (date, time):
        return
    clocks = table.column(keys.index(time))
    if clocks and all(_CLOCK.fullmatch(cell.strip()) for cell in clocks[:50]):
        positions.pop("timestamp", None)
        positions |= {DATE: keys.index(date), TIME: keys.index(time)}


def _with_times(
    layout: Layout, table: Table, options: ReadOptions, chosen: Format | None
) -> Layout:
    """Say how times are written and, where format or header tell, in which zone."""
    if not {"timestamp", DATE} & layout.positions.keys():
        return layout
    if DATE in layout.positions:
        dates = table.column(layout.positions[DATE])
        times = table.column(layout.positions[TIME])
        cells = [f"{d} {t}" for d, t in zip(dates, times, strict=False)]
        header = None
    else:
        cells = table.column(layout.positions["timestamp"])
        header = table.keys[layout.positions["timestamp"]]
    zone = None if header is None else zone_of_column(header)
    local_epoch = chosen is not None and chosen.local_epoch
    if chosen is not None:
        zone = zone or chosen.zone
    pattern = _pattern(table, cells, options, chosen, joined=DATE in layout.positions)
    midnight = None
    if chosen is not None and chosen.name == "lean" and pattern is None:
        midnight = lean_day(table.path)
    return replace(
        layout, dates=pattern, zone=zone, local_epoch=local_epoch, midnight_micros=midnight
    )


def _pattern(
    table: Table, cells: list[str], options: ReadOptions, chosen: Format | None, joined: bool
) -> DatePattern | None:
    """Return how dates are written; None for ISO-8601, epoch numbers and what is neither."""
    some = cells[:50]
    if not some:
        return None
    if all(map(is_iso, some)):
        # A date and a time joined are read by the pattern, which does not mind the digits.
        return date_pattern("year first") if joined else None
    fitting = {pattern.name: pattern for pattern in fitting_patterns(some)}
    if "compact" in fitting and not joined and all(cell.isdigit() for cell in some):
        return None
    if "day first" not in fitting:
        return next(iter(fitting.values()), None)
    first = options.day_first
    if first is None and chosen is not None and chosen.day_first:
        first = True
    if first is None:
        first = day_comes_first(cells)
    if first is None:
        raise UsageError(
            f"{table.path.name}: dates such as {some[0]!r} do not show which number is the day: "
            "give --day-first or --month-first"
        )
    return fitting["day first" if first else "month first"]


def _with_numbers(
    layout: Layout, table: Table, options: ReadOptions, chosen: Format | None
) -> Layout:
    prices = [
        cell
        for role in ("open", "high", "low", "close", "price")
        if role in layout.positions
        for cell in table.column(layout.positions[role])
    ]
    numerals = Numerals()
    if prices:
        numerals = numerals_of(prices, options.decimal, table.path.name)
    scale = options.price_scale
    if scale is None and chosen is not None and prices:
        whole = all(cell.isdigit() for cell in prices[:200])
        if chosen.name == "lean":
            scale = lean_scale(table.path)
        elif whole and chosen.scale_of_whole_prices != 1.0:
            scale = chosen.scale_of_whole_prices
    return replace(layout, numerals=numerals, scale=1.0 if scale is None else scale)


def _with_symbol(layout: Layout, table: Table, options: ReadOptions) -> Layout:
    """Find the column of symbols, and note whose rows the user wants."""
    name = options.column_names().get(SYMBOL)
    names = ALIASES[SYMBOL] if name is None else (normalized(name),)
    if layout.format == "databento":
        names = FORMATS["databento"].columns[SYMBOL]
    at = next((table.keys.index(n) for n in names if n in table.keys), None)
    if at is None and options.symbol is not None and not table.tickers:
        raise UsageError(
            f"--symbol: {table.path.name} has no column of symbols, found {_shown(table.names)}: "
            "name it with --columns symbol=COLUMN"
        )
    symbol = options.symbol
    if symbol is None and table.tickers:
        symbol = next(ticker for ticker in table.tickers if ticker)
    return replace(layout, symbol_position=at, symbol=symbol)


def _of_ticker(table: Table, options: ReadOptions) -> tuple[str, ...]:
    """Return the names of a table of several tickers with those of the others left out."""
    tickers = sorted({ticker for ticker in table.tickers if ticker})
    wanted = options.symbol
    if wanted is None and len(tickers) > 1:
        raise UsageError(
            f"{table.path.name} holds {len(tickers)} symbols ({_shown(tickers)}): "
            f"choose one with --symbol"
        )
    if wanted is not None and wanted not in tickers:
        raise UsageError(f"--symbol: found {wanted!r}, {table.path.name} holds {_shown(tickers)}")
    wanted = wanted or tickers[0]
    return tuple(
        key if ticker in ("", wanted) else ""
        for key, ticker in zip(table.keys, table.tickers, strict=True)
    )


def _shown(cells: Sequence[str]) -> str:
    text = ", ".join(cell[:40] for cell in cells[:12])
    return f"{text}, ..." if len(cells) > 12 else text

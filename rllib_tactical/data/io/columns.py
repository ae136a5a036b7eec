"""The needed columns of a table, parsed piece by piece as its layout says.

Pieces are turned into numbers as they come, so that the text of a large file never is in memory
as a whole; what stays is 8 bytes per number and the cells that could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rllib_tactical.data.io.dates import parse_dates
from rllib_tactical.data.io.layout import DATE, TIME, Layout, Numerals
from rllib_tactical.data.io.parse import (
    Numbers,
    TimePart,
    Timestamps,
    as_text,
    dates_only,
    join_times,
    parse_numbers,
    parse_time_part,
)
from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray

_MAX_SYMBOLS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The required columns of a table of ``rows`` rows, as far as they exist.

    ``raw`` keeps, by lower-case name and indexed by row, the cells that hold no finite number or
    no time, for messages. ``row_numbers`` (int64, shape (rows,)) are the rows of the file where
    those of the table differ from them. ``zones`` are the names of zones that cells hold,
    ``symbols`` the values of the column of symbols, ``unit`` that of times given as numbers.
    ``impossible`` marks times, ``bad`` too, that their zone skips or has twice.
    """

    rows: int
    missing: tuple[str, ...]
    repeated: tuple[str, ...]
    found: tuple[str, ...]
    timestamps: Timestamps | None
    numbers: dict[str, Numbers]
    raw: dict[str, pd.Series[Any]]
    row_numbers: IntArray | None = None
    long_rows: IntArray | None = None
    zones: frozenset[str] = frozenset()
    symbols: tuple[str, ...] = ()
    unit: str | None = None
    impossible: BoolArray | None = None

    def take(self, rows: IntArray) -> Columns:
        """Return the table of these rows, in this order; each row once at most."""
        place = np.full(self.rows, -1, dtype=np.int64)
        place[rows] = np.arange(rows.size)
        raw = {}
        for name, cells in self.raw.items():
            at = place[cells.index.to_numpy(dtype=np.int64)]
            raw[name] = cells[at >= 0].set_axis(pd.Index(at[at >= 0]))
        stamps = self.timestamps
        numbers = np.arange(self.rows) if self.row_numbers is None else self.row_numbers
        return replace(
            self,
            rows=int(rows.size),
            timestamps=None
            if stamps is None
            else Timestamps(stamps.micros[rows], stamps.bad[rows], stamps.naive[rows]),
            numbers={n: Numbers(c.values[rows], c.bad[rows]) for n, c in self.numbers.items()},
            raw=raw,
            row_numbers=numbers[rows],
            impossible=None if self.impossible is None else self.impossible[rows],
        )


class ColumnsBuilder:
    """Takes the pieces of a table in order and joins what was read of them.

    The result is the same however the table is cut: a cell is read by itself, and the one thing
    that depends on a whole column, the unit of times given as numbers, is settled at the end.
    """

    def __init__(self, layout: Layout) -> None:
        """Start with a layout; pieces have the columns at ``positions``."""
        self._layout = layout
        roles = [*layout.positions]
        self._at = {role: number for number, role in enumerate(roles)}
        positions = [*layout.positions.values()]
        if layout.symbol_position is not None:
            self._at["symbol"] = len(positions)
            positions.append(layout.symbol_position)
        self.positions = tuple(positions)
        self._numbers: dict[str, list[Numbers]] = {
            role: [] for role in roles if role not in ("timestamp", DATE, TIME)
        }
        self.number_positions: tuple[int, ...] = ()
        """Positions of plainly written numbers."""
        if layout.numerals.plain:
            self.number_positions = tuple(layout.positions[role] for role in self._numbers)
        self._timed = "timestamp" in roles or DATE in roles
        named = ["timestamp", *self._numbers] if self._timed else [*self._numbers]
        self._raw: dict[str, list[pd.Series[Any]]] = {role: [] for role in named}
        self._times: list[TimePart] = []
        self._zones: frozenset[str] = frozenset()
        self._symbols: dict[str, None] = {}
        self._kept: list[IntArray] = []
        self._rows = self._seen = 0

    def add(self, piece: pd.DataFrame) -> None:
        """Take the next rows; the columns of ``piece`` are those at ``positions``, in order."""
        size = len(piece)
        if "symbol" in self._at:
            piece = self._of_symbol(piece)
        if self._timed:
            column, part = self._time_part(piece)
            self._times.append(part)
            self._keep_raw("timestamp", column, part.unread)
        for role, parts in self._numbers.items():
            column = piece.iloc[:, self._at[role]]
            numbers = parse_numbers(_plain(column, self._layout.numerals))
            parts.append(numbers)
            self._keep_raw(role, column, numbers.bad | ~np.isfinite(numbers.values))
        self._rows += len(piece)
        self._seen += size

    def build(self, long_rows: list[int] | None = None) -> Columns:
        """Return the columns of all pieces; nothing can be added afterwards.

        Args:
            long_rows: rows of the file that have more cells than its header.

        Raises:
            UsageError: times given as numbers have more than one unit.
        """
        layout = self._layout
        raw = {name: _joined_cells(self._raw.pop(name)) for name in list(self._raw)}
        numbers = {name: _joined_numbers(self._numbers.pop(name)) for name in list(self._numbers)}
        timestamps, unit = join_times(self._times, layout.midnight_micros)
        if layout.zero_volume:
            zeros = np.zeros(self._rows)
            numbers["volume"] = Numbers(zeros, np.zeros(self._rows, dtype=np.bool_))
            raw["volume"] = pd.Series(dtype=object)
        if layout.scale != 1.0:
            for name in numbers.keys() - {"volume", "size"}:
                values = _scaled(numbers[name].values, layout.scale)
                numbers[name] = Numbers(values, numbers[name].bad)
        if (layout.local_epoch and unit is not None) or layout.midnight_micros is not None:
            timestamps = Timestamps(timestamps.micros, timestamps.bad, ~timestamps.bad)
        return Columns(
            rows=self._rows,
            missing=layout.missing,
            repeated=layout.repeated,
            found=layout.names,
            timestamps=timestamps if self._timed else None,
            numbers=numbers,
            raw=raw,
            row_numbers=self._row_numbers(),
            long_rows=np.array(long_rows, dtype=np.int64) if long_rows else None,
            zones=self._zones,
            symbols=tuple(self._symbols),
            unit=unit,
        )

    def _row_numbers(self) -> IntArray | None:
        if self._layout.symbol is None or self._rows == self._seen:
            return None
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._kept])

    def _of_symbol(self, piece: pd.DataFrame) -> pd.DataFrame:
        """Note the symbols of a piece, and return its rows of the wanted one."""
        symbols = piece.iloc[:, self._at["symbol"]].astype(str).str.strip()
        for symbol in symbols.unique().tolist():
            if len(self._symbols) < _MAX_SYMBOLS:
                self._symbols.setdefault(symbol)
        if self._layout.symbol is None:
            return piece
        mask = (symbols == self._layout.symbol).to_numpy(dtype=np.bool_)
        self._kept.append(np.flatnonzero(mask).astype(np.int64) + self._seen)
        return piece.loc[mask].reset_index(drop=True)

    def _time_part(self, piece: pd.DataFrame) -> tuple[pd.Series[Any], TimePart]:
        """Return the cells that messages show, and what was read of them."""
        if DATE in self._at:
            both = [as_text(piece.iloc[:, self._at[role]]) for role in (DATE, TIME)]
            space = pa.scalar(" ", both[0].type)
            text = pc.binary_join_element_wise(*map(pc.utf8_trim_whitespace, both), space)
            column = pd.Series(text.to_pandas())
        else:
            column = piece.iloc[:, self._at["timestamp"]]
            text = None
        if self._layout.dates is None:
            return column, parse_time_part(column)
        cells = pc.fill_null(as_text(column) if text is None else text, "")
        dates = parse_dates(cells, self._layout.dates)
        self._zones |= dates.zones
        return column, dates_only(Timestamps(dates.micros, dates.bad, dates.naive))

    def _keep_raw(self, name: str, column: pd.Series[Any], unread: BoolArray) -> None:
        rows = np.flatnonzero(unread)
        if rows.size:
            cells = column.iloc[rows]
            self._raw[name].append(cells.set_axis(pd.Index(rows + self._rows)))


def _scaled(values: FloatArray, scale: float) -> FloatArray:
    """Multiply by ``scale``; divide by its inverse where that is whole, as 1e-9 has no exact value.

    Then 583870000000 becomes the double of 583.87 and no neighbor of it.
    """
    inverse = round(1 / scale)
    return values / inverse if inverse and abs(1 / scale - inverse) < 1e-6 else values * scale


def _plain(column: pd.Series[Any], numerals: Numerals) -> pd.Series[Any]:
    """Return a column of numbers with a decimal point and nothing between thousands."""
    if numerals.plain or pd.api.types.is_numeric_dtype(column.dtype):
        return column
    text = as_text(column)
    if numerals.thousands:
        text = pc.replace_substring(text, numerals.thousands, "")
    if numerals.decimal != ".":
        text = pc.replace_substring(text, numerals.decimal, ".")
    return pd.Series(text.to_pandas())


def _joined_numbers(parts: list[Numbers]) -> Numbers:
    if len(parts) == 1:
        return parts[0]
    empty = np.zeros(0)
    return Numbers(
        np.concatenate([empty, *(part.values for part in parts)]),
        np.concatenate([empty.astype(np.bool_), *(part.bad for part in parts)]),
    )


def _joined_cells(parts: list[pd.Series[Any]]) -> pd.Series[Any]:
    filled = [part for part in parts if len(part)]
    if len(filled) == 1:
        return filled[0]
    return pd.concat(filled) if filled else pd.Series(dtype=object)

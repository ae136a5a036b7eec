"""The required columns of a table, parsed piece by piece.

Pieces are turned into numbers as they come, so that the text of a large file never is in memory
as a whole; what stays is 8 bytes per number and the cells that could not be read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.data.io.parse import (
    Numbers,
    TimePart,
    Timestamps,
    join_times,
    parse_numbers,
    parse_time_part,
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The required columns of a table of ``rows`` rows, as far as they exist.

    ``raw`` keeps, by lower-case name and indexed by row, the cells that hold no finite number or
    no time, for messages.
    """

    rows: int
    missing: tuple[str, ...]
    repeated: tuple[str, ...]
    found: tuple[str, ...]
    timestamps: Timestamps | None
    numbers: dict[str, Numbers]
    raw: dict[str, pd.Series[Any]]


class ColumnsBuilder:
    """Takes the pieces of a table in order and joins what was read of them.

    The result is the same however the table is cut: a cell is read by itself, and the one thing
    that depends on a whole column, the unit of times given as numbers, is settled at the end.
    """

    def __init__(self, found: tuple[str, ...], required: tuple[str, ...]) -> None:
        """Start with the names of all columns that the table has, and those that are needed."""
        keys = [name.strip().lower() for name in found]
        count = Counter(keys)
        self.missing = tuple(name for name in required if count[name] == 0)
        self.repeated = tuple(name for name in required if count[name] > 1)
        self._found = found
        self._names = tuple(name for name in required if count[name] > 0)
        self.positions = tuple(keys.index(name) for name in self._names)
        self._rows = 0
        self._times: list[TimePart] = []
        self._numbers: dict[str, list[Numbers]] = {
            name: [] for name in self._names if name != "timestamp"
        }
        self._raw: dict[str, list[pd.Series[Any]]] = {name: [] for name in self._names}

    def add(self, piece: pd.DataFrame) -> None:
        """Take the next rows; the columns of ``piece`` are those at ``positions``, in order."""
        for number, name in enumerate(self._names):
            column = piece.iloc[:, number]
            if name == "timestamp":
                part = parse_time_part(column)
                self._times.append(part)
                unread = part.unread
            else:
                numbers = parse_numbers(column)
                self._numbers[name].append(numbers)
                unread = numbers.bad | ~np.isfinite(numbers.values)
            rows = np.flatnonzero(unread)
            cells = column.iloc[rows]
            self._raw[name].append(cells.set_axis(pd.Index(rows + self._rows)))
        self._rows += len(piece)

    def build(self) -> Columns:
        """Return the columns of all pieces; nothing can be added afterwards."""
        times = self._times
        raw = {name: _joined_cells(self._raw.pop(name)) for name in self._names}
        numbers = {name: _joined_numbers(self._numbers.pop(name)) for name in list(self._numbers)}
        return Columns(
            rows=self._rows,
            missing=self.missing,
            repeated=self.repeated,
            found=self._found,
            timestamps=join_times(times) if "timestamp" in self._names else None,
            numbers=numbers,
            raw=raw,
        )


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

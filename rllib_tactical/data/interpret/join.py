"""Join the rows of several files of one instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.parse import Numbers, Timestamps
from rllib_tactical.data.quality.findings import iso_time
from rllib_tactical.errors import DataError, UsageError


def join_columns(
    parts: Sequence[Columns], names: Sequence[str]
) -> tuple[Columns, tuple[int, ...], int]:
    """Return the rows of all parts as one table, the order of the parts, and repeated rows.

    Parts are put in the order of their first times. A bar that two parts have is kept once; both
    must have the same numbers. Rows keep the order that they have in their part, unless parts
    overlap: then all rows are put in the order of their times.

    Args:
        parts: tables with times in UTC.
        names: what messages call them.

    Raises:
        DataError: two parts have other numbers for one bar.
        UsageError: a part lacks a column, has one twice, or has another symbol than the others.
    """
    symbols = {symbol for part in parts for symbol in part.symbols}
    if len(symbols) > 1:
        raise UsageError(
            f"the files hold {len(symbols)} symbols ({', '.join(sorted(symbols)[:8])}): choose one "
            "with --symbol"
        )
    for part, name in zip(parts, names, strict=True):
        if part.timestamps is None or part.missing or part.repeated:
            wrong = ", ".join((*part.missing, *part.repeated))
            raise UsageError(f"{name}: each column is required once, check {wrong}")
    order = tuple(np.argsort([_first(part) for part in parts], kind="stable").tolist())
    whole = _concatenated([parts[at] for at in order])
    stamps = whole.timestamps
    assert stamps is not None
    part_of = np.repeat(np.arange(len(order)), [parts[at].rows for at in order])
    repeated = _repeated_rows(whole, stamps, part_of, [names[at] for at in order])
    if repeated.any():
        whole = whole.take(np.flatnonzero(~repeated))
    stamps = whole.timestamps
    overlap = any(_last(parts[a]) >= _first(parts[b]) for a, b in pairwise(order))
    if overlap and stamps is not None and all(map(_rising, parts)):
        whole = whole.take(np.argsort(stamps.micros, kind="stable"))
    return replace(whole, row_numbers=None), order, int(np.count_nonzero(repeated))


def _repeated_rows(
    whole: Columns, stamps: Timestamps, part_of: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """Mark rows whose time an earlier part has, and check that both have the same numbers."""
    good = np.flatnonzero(~stamps.bad)
    ordered = good[np.argsort(stamps.micros[good], kind="stable")]
    same = stamps.micros[ordered[1:]] == stamps.micros[ordered[:-1]]
    same &= part_of[ordered[1:]] != part_of[ordered[:-1]]
    first, second = ordered[:-1][same], ordered[1:][same]
    for name, numbers in whole.numbers.items():
        one, other = numbers.values[first], numbers.values[second]
        differs = np.flatnonzero((one != other) & ~(np.isnan(one) & np.isnan(other)))
        if differs.size:
            at = differs[0]
            raise DataError(
                f"{names[part_of[first[at]]]} and {names[part_of[second[at]]]} disagree about "
                f"{differs.size} bars, the first at {iso_time(int(stamps.micros[first[at]]))}: "
                f"{name} is {one[at]} and {other[at]}"
            )
    marked = np.zeros(whole.rows, dtype=np.bool_)
    marked[second] = True
    return marked


def _concatenated(parts: Sequence[Columns]) -> Columns:
    begins = np.cumsum([0, *(part.rows for part in parts)])
    stamps = [part.timestamps for part in parts if part.timestamps is not None]
    raw: dict[str, pd.Series] = {}
    for name in parts[0].raw:
        cells = [
            part.raw[name].set_axis(part.raw[name].index + begin)
            for part, begin in zip(parts, begins, strict=False)
            if len(part.raw[name])
        ]
        raw[name] = pd.concat(cells) if cells else pd.Series(dtype=object)
    long_rows = [
        part.long_rows + begin
        for part, begin in zip(parts, begins, strict=False)
        if part.long_rows is not None
    ]
    impossible = [
        np.zeros(part.rows, dtype=np.bool_) if part.impossible is None else part.impossible
        for part in parts
    ]
    return replace(
        parts[0],
        rows=int(begins[-1]),
        timestamps=Timestamps(
            np.concatenate([each.micros for each in stamps]),
            np.concatenate([each.bad for each in stamps]),
            np.concatenate([each.naive for each in stamps]),
        ),
        numbers={
            name: Numbers(
                np.concatenate([part.numbers[name].values for part in parts]),
                np.concatenate([part.numbers[name].bad for part in parts]),
            )
            for name in parts[0].numbers
        },
        raw=raw,
        row_numbers=None,
        long_rows=np.concatenate(long_rows) if long_rows else None,
        impossible=np.concatenate(impossible) if any(map(np.any, impossible)) else None,
        symbols=tuple(dict.fromkeys(symbol for part in parts for symbol in part.symbols)),
    )


def _first(part: Columns) -> int:
    stamps = part.timestamps
    good = np.zeros(0, dtype=np.int64) if stamps is None else stamps.micros[~stamps.bad]
    return int(good.min()) if good.size else 0


def _last(part: Columns) -> int:
    stamps = part.timestamps
    good = np.zeros(0, dtype=np.int64) if stamps is None else stamps.micros[~stamps.bad]
    return int(good.max()) if good.size else 0


def _rising(part: Columns) -> bool:
    stamps = part.timestamps
    if stamps is None or stamps.bad.any():
        return False
    return bool((np.diff(stamps.micros) > 0).all())

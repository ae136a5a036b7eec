"""Turn the raw cells of a table into numbers, remembering which cells could not be read.

Everything here is vectorized: no Python object is made per cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray
from rllib_tactical.errors import UsageError

PRICE_COLUMNS: Final = ("open", "high", "low", "close")
NUMBER_COLUMNS: Final = (*PRICE_COLUMNS, "volume")
BAR_COLUMNS: Final = ("timestamp", *NUMBER_COLUMNS)
TICK_COLUMNS: Final = ("timestamp", "price", "size")
MICROS: Final = 1_000_000

# Microseconds are clipped here: far beyond any date, yet adding a bar length cannot overflow.
_MICROS_LIMIT: Final = 9_000_000_000_000_000_000
# A median epoch below 1e11 is in seconds (year 5138), below 1e14 in milliseconds, and so on: the
# units are three decades apart, so dates from 1973 on are never ambiguous.
_EPOCH_UNITS: Final = (
    ("s", 1e11, MICROS, 1),
    ("ms", 1e14, 1000, 1),
    ("us", 1e17, 1, 1),
    ("ns", np.inf, 1, 1000),
)
# A few cells in another unit are errors of these cells; more are another unit.
_SECOND_UNIT_CELLS: Final = 5
_MISSING_WORDS: Final = ("", "nan", "na", "n/a", "null", "none", "nat", "<na>")
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ZONE: Final = r"\d[Tt ]\d\d.*([Zz]|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of N numbers: ``values`` float64 with NaN where ``bad`` or the cell is empty."""

    values: FloatArray
    bad: BoolArray


@dataclass(frozen=True, slots=True)
class Timestamps:
    """A column of N timestamps.

    ``micros`` (int64) is the UTC epoch time in microseconds, 0 where ``bad``. ``naive`` marks
    cells written without a time zone; they were read as UTC.
    """

    micros: IntArray
    bad: BoolArray
    naive: BoolArray


@dataclass(frozen=True, slots=True)
class TimePart:
    """Timestamps of a piece of a column, of which those given as numbers have no unit yet.

    ``stamps`` has the cells written as dates; the cells of ``rows`` hold the numbers ``epoch``.
    """

    stamps: Timestamps
    rows: IntArray
    epoch: NDArray[Any]

    @property
    def unread(self) -> BoolArray:
        """Mark the cells that may turn out to be no time, shape (N,)."""
        mask = self.stamps.bad.copy()
        scaled = self.epoch.astype(np.float64)
        # Beyond this no unit makes a time of it; far more cells than these are never kept.
        mask[self.rows] = ~(np.isfinite(scaled) & (scaled > -_MICROS_LIMIT / MICROS))
        return mask


def parse_numbers(column: pd.Series[Any]) -> Numbers:
    """Read a column of numbers, stored as numbers or as text.

    Empty cells and the usual words for a missing value become NaN and are not ``bad``; ``inf`` is
    read as infinity. Anything else that is not a decimal number is ``bad``.
    """
    if pd.api.types.is_bool_dtype(column.dtype):
        return Numbers(np.full(len(column), np.nan), np.ones(len(column), dtype=np.bool_))
    if pd.api.types.is_numeric_dtype(column.dtype):
        if pd.api.types.is_complex_dtype(column.dtype):
            return _all_bad_numbers(len(column))
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return Numbers(values, np.zeros(len(column), dtype=np.bool_))
    if not (_is_text(column) or column.dtype == object):
        return _parse_foreign_numbers(column)
    text = as_text(column)
    try:
        return Numbers(_to_float(text), np.zeros(len(column), dtype=np.bool_))
    except pa.ArrowInvalid:
        pass
    text = pc.utf8_trim_whitespace(text)
    lower = pc.utf8_lower(text)
    empty = _mask(pc.is_in(lower, value_set=pa.array(_MISSING_WORDS, type=text.type)))
    infinite = pc.match_substring_regex(lower, r"^[+-]?inf(inity)?$")
    readable = _mask(pc.or_(pc.match_substring_regex(text, _NUMBER), infinite))
    values = _to_float(pc.if_else(pa.array(readable), text, pa.scalar(None, type=text.type)))
    return Numbers(values, ~readable & ~empty)


def parse_time_part(column: pd.Series[Any]) -> TimePart:
    """Read a piece of a column of timestamps as far as it can be read by itself."""
    size = len(column)
    if pd.api.types.is_bool_dtype(column.dtype):
        return dates_only(_no_timestamps(size))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return dates_only(_from_datetimes(column))
    if pd.api.types.is_numeric_dtype(column.dtype):
        if pd.api.types.is_complex_dtype(column.dtype):
            return dates_only(_no_timestamps(size))
        exact = column.dtype.kind in "iu" and not column.hasnans
        epoch: NDArray[Any] = (
            column.to_numpy(dtype=column.dtype.name.lower())
            if exact
            else column.to_numpy(dtype=np.float64, na_value=np.nan)
        )
        return TimePart(_no_timestamps(size), np.arange(size, dtype=np.int64), epoch)
    if not (_is_text(column) or column.dtype == object):
        return _parse_foreign_timestamps(column)
    text = as_text(column)
    for zone in ("UTC", None):
        try:
            cast = pc.cast(text, pa.timestamp("us", tz=zone))
        except pa.ArrowInvalid:
            continue
        bad = _mask(pc.is_null(cast))
        micros = pc.fill_null(pc.cast(cast, pa.int64()), 0).to_numpy(zero_copy_only=False)
        return dates_only(Timestamps(micros.astype(np.int64), bad, ~bad & (zone is None)))
    return _from_mixed_text(pc.utf8_trim_whitespace(text))


def join_times(
    parts: list[TimePart], midnight_micros: int | None = None
) -> tuple[Timestamps, str | None]:
    """Join the pieces of a column and settle the unit of the times given as numbers.

    Returns the timestamps and the unit (s, ms, us or ns), None where no time is a number.

    Args:
        parts: pieces in order.
        midnight_micros: the day whose milliseconds the numbers count; they count from 1970 if None.

    Raises:
        UsageError: some of the numbers have another unit than the others.
    """
    empty = np.zeros(0, dtype=np.int64)
    no = np.zeros(0, dtype=np.bool_)
    stamps = Timestamps(
        np.concatenate([empty, *(part.stamps.micros for part in parts)]),
        np.concatenate([no, *(part.stamps.bad for part in parts)]),
        np.concatenate([no, *(part.stamps.naive for part in parts)]),
    )
    filled = [part.epoch for part in parts if part.epoch.size]
    if not filled:
        return stamps, None
    begins = np.cumsum([0, *(part.stamps.bad.size for part in parts)])
    rows = np.concatenate([part.rows + b for part, b in zip(parts, begins, strict=False)])
    values = np.concatenate(filled)
    if midnight_micros is not None:
        finite = np.isfinite(values.astype(np.float64))
        since = np.where(finite, values, 0).astype(np.int64) * 1000
        micros, bad, unit = since + midnight_micros, ~finite, "ms of the day"
    else:
        micros, bad, unit = _from_epoch(values)
    if rows.size == stamps.bad.size:
        return Timestamps(micros, bad, stamps.naive), unit
    stamps.micros[rows], stamps.bad[rows] = micros, bad
    return stamps, unit


def _from_mixed_text(text: Any) -> TimePart:
    numeric = _mask(pc.match_substring_regex(text, _NUMBER))
    micros = np.zeros(len(text), dtype=np.int64)
    bad = np.ones(len(text), dtype=np.bool_)
    naive = np.zeros(len(text), dtype=np.bool_)
    chosen = pc.filter(text, pa.array(numeric))
    try:
        # Whole numbers stay exact: a double cannot hold nanoseconds.
        epoch: NDArray[Any] = pc.cast(chosen, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        epoch = _to_float(chosen)
    words = ~numeric
    if words.any():
        chosen = pc.fill_null(pc.filter(text, pa.array(words)), "")
        # pandas also reads the words "now" and "today", which are no timestamps of a bar.
        shaped = pc.match_substring_regex(chosen, r"^\d")
        cells = pc.if_else(shaped, chosen, pa.scalar("", type=chosen.type))
        # The years 1..9999 fit into microseconds; pandas chooses the unit by the first cell.
        moments = pd.to_datetime(
            pd.Series(cells.to_numpy(zero_copy_only=False), dtype=object),
            format="ISO8601",
            utc=True,
            errors="coerce",
        )
        dated = _from_datetimes(moments)
        micros[words], bad[words] = dated.micros, dated.bad
        naive[words] = ~dated.bad & ~_mask(pc.match_substring_regex(chosen, _ZONE))
    return TimePart(Timestamps(micros, bad, naive), np.flatnonzero(numeric), epoch)


def _from_datetimes(column: pd.Series[Any]) -> Timestamps:
    dtype = column.dtype
    aware = getattr(dtype, "tz", None) is not None
    if isinstance(dtype, pd.ArrowDtype):
        aware = dtype.pyarrow_dtype.tz is not None
    index = pd.DatetimeIndex(column)
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    micros = index.to_numpy().astype("datetime64[us]").astype(np.int64)
    bad = np.asarray(index.isna(), dtype=np.bool_)
    naive = np.zeros(len(bad), dtype=np.bool_) if aware else ~bad
    return Timestamps(np.where(bad, 0, micros), bad, naive)


def _from_epoch(values: NDArray[Any]) -> tuple[IntArray, BoolArray, str]:
    """Return microseconds, which cells are bad, and the unit, of numbers that share one unit."""
    as_float = values.astype(np.float64, copy=False)
    finite = np.isfinite(as_float)
    magnitude = float(np.median(np.abs(as_float[finite]))) if finite.any() else 0.0
    unit, _, multiply, divide = next(u for u in _EPOCH_UNITS if magnitude < u[1])
    scaled = np.where(finite, as_float, 0.0) * (multiply / divide)
    _require_one_unit(as_float, unit)
    in_range = np.abs(scaled) < _MICROS_LIMIT
    if values.dtype.kind in "iu" and bool(in_range.all()):
        micros = values.astype(np.int64) * multiply // divide
    else:
        micros = np.rint(np.clip(scaled, -_MICROS_LIMIT, _MICROS_LIMIT)).astype(np.int64)
    bad = ~finite | (scaled <= -_MICROS_LIMIT)
    return np.where(bad, 0, micros), bad, unit


def _require_one_unit(values: FloatArray, unit: str) -> None:
    """Refuse numbers that are times of the years 2001 to 2286 in another unit than the rest."""
    for name, _, multiply, divide in _EPOCH_UNITS:
        per_second = MICROS * divide / multiply
        with np.errstate(invalid="ignore"):
            strange = (values >= 1e9 * per_second) & (values < 1e10 * per_second)
        if name != unit and np.count_nonzero(strange) > _SECOND_UNIT_CELLS:
            rows = np.flatnonzero(strange)
            raise UsageError(
                f"the times have two units: {unit}, and {name} in {rows.size} rows from row "
                f"{rows[0]} on: split the file where the unit changes and name both parts"
            )


def dates_only(stamps: Timestamps) -> TimePart:
    """Return a piece whose cells are all written as dates."""
    none = np.zeros(0, dtype=np.int64)
    return TimePart(stamps, none, none)


def _parse_foreign_numbers(column: pd.Series[Any]) -> Numbers:
    """Read decimals and categories through Arrow; what has no number in it is bad as a whole."""
    try:
        cells = pa.array(column, from_pandas=True)
        if pa.types.is_dictionary(cells.type):
            return parse_numbers(pd.Series(cells.dictionary_decode().to_pandas()))
        cast = pc.cast(cells, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError):
        return _all_bad_numbers(len(column))
    values = cast.to_numpy(zero_copy_only=False).astype(np.float64)
    return Numbers(values, np.zeros(len(column), dtype=np.bool_))


def _parse_foreign_timestamps(column: pd.Series[Any]) -> TimePart:
    """Read dates and categories through Arrow; what has no time in it is bad as a whole."""
    try:
        cells = pa.array(column, from_pandas=True)
        if pa.types.is_dictionary(cells.type):
            return parse_time_part(pd.Series(cells.dictionary_decode().to_pandas()))
        moments = pc.cast(cells, pa.timestamp("us")).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError):
        return dates_only(_no_timestamps(len(column)))
    return dates_only(_from_datetimes(pd.Series(moments)))


def _is_text(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_string_dtype(column.dtype))


def as_text(column: pd.Series[Any]) -> Any:
    """Return the cells as an Arrow string array, null where a cell is missing."""
    try:
        cells = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        # Mixed Python objects have no Arrow type of their own; their text does.
        cells = pa.array([None if cell is None else str(cell) for cell in column], pa.string())
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        return cells
    try:
        return pc.cast(cells, pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if cell is None else str(cell) for cell in column], pa.string())


def _to_float(text: Any) -> FloatArray:
    values = pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def _mask(array: Any) -> BoolArray:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _all_bad_numbers(size: int) -> Numbers:
    return Numbers(np.full(size, np.nan), np.ones(size, dtype=np.bool_))


def _no_timestamps(size: int) -> Timestamps:
    bad = np.ones(size, dtype=np.bool_)
    return Timestamps(np.zeros(size, dtype=np.int64), bad, ~bad)

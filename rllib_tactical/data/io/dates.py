"""Dates that are not written as ISO-8601: their patterns, and whole columns of them.

A pattern is one regular expression. A column whose cells are all written like the first one is cut
at fixed places instead, which is forty times as fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rllib_tactical.domain.types import BoolArray, IntArray

_TIME: Final = (
    r"(?P<H>\d{1,2}):?(?P<M>\d{2})(?::?(?P<S>\d{2})"
    r"(?:[.,](?P<f>\d{1,9}))?)?(?: ?(?P<p>[AaPp])[Mm])?"
)
_ZONE: Final = (
    r"(?: ?(?:(?:GMT|UTC)?(?P<o>[+-]\d{1,2}:?(?:\d{2})?)|(?P<z>Z|GMT|UTC|[A-Za-z]+/[A-Za-z_/]+)))?"
)
_DAY: Final = {
    "year first": r"(?P<y>\d{4})[./-](?P<m>\d{1,2})[./-](?P<d>\d{1,2})",
    "compact": r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
    "day first": r"(?P<d>\d{1,2})[./-](?P<m>\d{1,2})[./-](?P<y>\d{4})",
    "month first": r"(?P<m>\d{1,2})[./-](?P<d>\d{1,2})[./-](?P<y>\d{4})",
}
_ISO: Final = re.compile(
    r"\s*\d{4}-\d\d-\d\d([Tt ]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?\s?([Zz]|[+-]\d\d(:?\d\d)?)?)?\s*"
)
_NUMBERS: Final = "ymdHMSf"
_GROUPS: Final = f"{_NUMBERS}poz"
_ZERO: Final = np.uint8(ord("0"))
_EITHER: Final = re.compile(r"\s*(\d{1,2})[./-](\d{1,2})[./-]\d{4}")


@dataclass(frozen=True, slots=True)
class DatePattern:
    """One way to write dates and times; ``name`` is the order of year, month and day."""

    name: str
    expression: str

    def matches(self, cell: str) -> bool:
        """Return whether a cell is written this way."""
        return re.fullmatch(self.expression, cell) is not None


@dataclass(frozen=True, slots=True)
class ParsedDates:
    """N cells read by a pattern: local or UTC microseconds, 0 where ``bad``.

    ``naive`` marks cells without a zone; ``zones`` holds the names of zones that cells name, which
    are ``naive`` too.
    """

    micros: IntArray
    bad: BoolArray
    naive: BoolArray
    zones: frozenset[str]


PATTERNS: Final = tuple(
    DatePattern(name, rf"\s*{day}(?:(?:[ T,]|, )\s*{_TIME}{_ZONE})?\s*")
    for name, day in _DAY.items()
)


def date_pattern(name: str) -> DatePattern:
    """Return the pattern of that name."""
    return next(pattern for pattern in PATTERNS if pattern.name == name)


def is_iso(cell: str) -> bool:
    """Return whether a cell is ISO-8601, which needs no pattern."""
    return _ISO.fullmatch(cell) is not None


def fitting_patterns(cells: Sequence[str]) -> list[DatePattern]:
    """Return the patterns that every cell is written in."""
    return [pattern for pattern in PATTERNS if all(map(pattern.matches, cells))]


def day_comes_first(cells: Sequence[str]) -> bool | None:
    """Return whether the first of two leading numbers is the day; None if cells do not show it.

    A number above 12 is a day. Else the day is the number that changes from one date to the next
    while the other stands still: months do not change before the days of a month have passed.
    """
    pairs = list(_leading_numbers(cells))
    if any(first > 12 for first, _ in pairs):
        return True
    if any(second > 12 for _, second in pairs):
        return False
    steps = [(a, b) for a, b in pairwise(pairs) if a != b]
    first = sum(a[0] != b[0] and a[1] == b[1] for a, b in steps)
    second = sum(a[1] != b[1] and a[0] == b[0] for a, b in steps)
    # One date that follows another by a whole month would look like a day's step.
    if max(first, second) < 2 or min(first, second) > 0:
        return None
    return first > second


def parse_dates(text: Any, pattern: DatePattern) -> ParsedDates:
    """Read an Arrow array of text by a pattern; cells that are written otherwise are ``bad``."""
    fields = _even_fields(text, pattern) or _fields(text, pattern)
    number = fields.number
    year, month, day = number["y"], number["m"], number["d"]
    hour, minute, second = number["H"], number["M"], number["S"]
    afternoon, morning = (_among(fields.half, letters) for letters in ("Pp", "Aa"))
    twelve = afternoon | morning
    bad = ~fields.matched | (month < 1) | (month > 12) | (day < 1)
    bad |= (hour > 23) | (minute > 59) | (second > 59)
    bad |= twelve & ((hour < 1) | (hour > 12))
    hour = np.where(twelve, hour % 12 + 12 * afternoon, hour)
    months = np.where(bad, 0, (year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64)
    bad |= day > (months + 1).astype("datetime64[D]").astype(np.int64) - days
    seconds = (days + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
    east, aware, zones = _zones(fields.zone)
    micros = np.where(bad, 0, (seconds - east) * 1_000_000 + number["f"])
    return ParsedDates(micros, bad, ~bad & ~aware, zones)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The groups of N cells: numbers (0 where there is none, ``f`` in microseconds) and text.

    ``half`` (a or p) and ``zone`` are dictionary-encoded Arrow arrays.
    """

    matched: BoolArray
    number: dict[str, IntArray]
    half: Any
    zone: Any


def _fields(text: Any, pattern: DatePattern) -> _Fields:
    found = pc.extract_regex(text, rf"^{pattern.expression}$")
    cells = {name: pc.fill_null(pc.struct_field(found, name), "") for name in _GROUPS}
    cells["f"] = pc.utf8_slice_codeunits(pc.utf8_rpad(cells["f"], 6, "0"), 0, 6)
    number = {}
    for name in _NUMBERS:
        filled = pc.if_else(pc.equal(cells[name], ""), "0", cells[name])
        number[name] = pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False)
    return _Fields(
        matched=np.asarray(pc.is_valid(found).to_numpy(zero_copy_only=False), dtype=np.bool_),
        number=number,
        half=pc.dictionary_encode(cells["p"]),
        zone=pc.dictionary_encode(
            pc.binary_join_element_wise(cells["o"], cells["z"], pa.scalar("", cells["o"].type))
        ),
    )


def _even_fields(text: Any, pattern: DatePattern) -> _Fields | None:
    """Cut the fields out of cells that are all written as the first one is; None otherwise."""
    letters = _letters(text)
    match = None if letters is None else re.fullmatch(pattern.expression, text[0].as_py())
    if letters is None or match is None:
        return None
    spans = {name: match.span(name) for name in _NUMBERS if match[name] is not None}
    digits = {at for span in spans.values() for at in range(*span)}
    for at in range(letters.shape[1]):
        cells = letters[:, at]
        # Other bytes than digits wrap around to large numbers.
        other = (cells - _ZERO) > 9 if at in digits else cells != cells[0]
        if bool(other.any()):
            return None
    number = dict.fromkeys(_NUMBERS, np.zeros(len(text), dtype=np.int64))
    for name, (start, stop) in spans.items():
        stop = min(stop, start + 6) if name == "f" else stop
        value = np.zeros(len(text), dtype=np.int64)
        for at in range(start, stop):
            value = value * 10 + (letters[:, at] - _ZERO)
        number[name] = value * 10 ** (6 - (stop - start)) if name == "f" else value
    return _Fields(
        matched=np.ones(len(text), dtype=np.bool_),
        number=number,
        half=_repeated(match["p"] or "", len(text)),
        zone=_repeated((match["o"] or "") + (match["z"] or ""), len(text)),
    )


def _letters(text: Any) -> Any:
    """Return the bytes of equally long ASCII cells, uint8 of shape (N, length), else None."""
    if text.null_count or len(text) == 0:
        return None
    text = pc.cast(text, pa.large_string())
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset :][: len(text) + 1]
    length = int(offsets[1] - offsets[0])
    if length == 0 or bool((np.diff(offsets) != length).any()):
        return None
    data = np.frombuffer(text.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return None if bool((data > 127).any()) else data.reshape(len(text), length)


def _repeated(value: str, size: int) -> Any:
    codes = pa.array(np.zeros(size, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))


def _zones(coded: Any) -> tuple[IntArray, BoolArray, frozenset[str]]:
    """Return seconds east of Greenwich, whether they are known, and the names of zones."""
    seconds, aware, names = [], [], set()
    for value in coded.dictionary.to_pylist():
        match = re.fullmatch(r"([+-])(\d{1,2}):?(\d{2})?", value)
        east = 0 if match is None else int(match[2]) * 3600 + int(match[3] or 0) * 60
        seconds.append(-east if match is not None and match[1] == "-" else east)
        aware.append(match is not None or value in ("Z", "GMT", "UTC"))
        if "/" in value:
            names.add(value)
    codes = coded.indices.to_numpy(zero_copy_only=False)
    return np.array(seconds, dtype=np.int64)[codes], np.array(aware)[codes], frozenset(names)


def _among(coded: Any, letters: str) -> BoolArray:
    """Mark the cells of a dictionary-encoded array that are one of the letters."""
    hits = [bool(value) and value in letters for value in coded.dictionary.to_pylist()]
    codes = coded.indices.to_numpy(zero_copy_only=False)
    mask: BoolArray = np.array(hits, dtype=np.bool_)[codes]
    return mask


def _leading_numbers(cells: Sequence[str]) -> Iterator[tuple[int, int]]:
    for cell in cells:
        match = _EITHER.match(cell)
        if match is not None:
            yield int(match[1]), int(match[2])

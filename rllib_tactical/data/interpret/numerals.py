"""How numbers are written: decimal point or comma, and what stands between thousands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rllib_tactical.data.io.layout import Numerals
from rllib_tactical.errors import UsageError

_PLAIN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SIGNS: Final = "., '\N{NO-BREAK SPACE}"


def numerals_of(cells: Sequence[str], decimal: str | None, source: str) -> Numerals:
    """Return how the numbers in ``cells`` are written.

    Args:
        cells: prices as text.
        decimal: the decimal sign that the user names, if any.
        source: name of the file, for the message.

    Raises:
        UsageError: a comma may be a decimal sign or stand between thousands.
    """
    if decimal is not None:
        return Numerals(decimal=decimal, thousands=_thousands(cells, decimal))
    odd = [cell for cell in cells if not _PLAIN.fullmatch(cell) and cell[:1].isdigit()]
    # A stray cell is an error of that cell.
    if len(odd) < max(2, 0.02 * len(cells)):
        return Numerals()
    signs = _thousands(cells, "."), _thousands(cells, ",")
    point = all(_fits(cell, Numerals(decimal=".", thousands=signs[0])) for cell in odd)
    comma = all(_fits(cell, Numerals(decimal=",", thousands=signs[1])) for cell in odd)
    plain = [cell for cell in cells if "." in cell and "," not in cell]
    if comma and plain and not signs[1]:
        comma = False
    if point and comma:
        raise UsageError(
            f"{source}: numbers such as {odd[0]!r} may be thousands or decimals: give --decimal . "
            "or --decimal ,"
        )
    if comma:
        return Numerals(decimal=",", thousands=signs[1])
    return Numerals(thousands=signs[0]) if point else Numerals()


def _thousands(cells: Sequence[str], decimal: str) -> str:
    """Return the sign between thousands that some cell shows, if the other sign is decimal."""
    for sign in _SIGNS:
        style = Numerals(decimal=decimal, thousands=sign)
        if sign != decimal and any(sign in cell and _fits(cell, style) for cell in cells):
            return sign
    return ""


def _fits(cell: str, style: Numerals) -> bool:
    decimal, thousands = re.escape(style.decimal), re.escape(style.thousands)
    whole = rf"\d{{1,3}}(?:{thousands}\d{{3}})+|\d+" if thousands else r"\d+"
    return re.fullmatch(rf"[+-]?(?:{whole})(?:{decimal}\d*)?", cell) is not None

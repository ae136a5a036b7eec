"""Number formats: dollars, shares and counts as text."""

from __future__ import annotations

from typing import Final

NOTHING: Final = "-"


def dollars(value: float | None) -> str:
    """Return an amount such as ``-$1,234.50``; cents only below 1,000 dollars."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 1000 else 0
    text = f"${abs(value):,.{digits}f}"
    return f"-{text}" if value < 0 and text.strip("$0.,") else text


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return NOTHING if value is None else f"{100.0 * value:.{digits}f}%"


def number(value: float | None, digits: int = 2) -> str:
    """Return a plain number; whole ones without decimals."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{digits}f}"


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 day`` or ``1,204 days``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""Bar lengths: how users write them and what is allowed."""

from __future__ import annotations

import re
from typing import Final

from rllib_tactical.errors import UsageError

BAR_SECONDS: Final = 300
"""The length of a bar wherever nothing says otherwise: five minutes."""

_UNITS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def parse_bar_length(text: str) -> int:
    """Return the seconds of a bar length such as ``5min``, ``1h``, ``30s`` or ``300``.

    Raises:
        UsageError: not a bar length, or a day is not a whole number of such bars.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"bar length: found {text!r}, expected for example 5min, 1h or 30s")
    return require_bar_seconds(int(match[1]) * _UNITS[match[2]])


def require_bar_seconds(bar_seconds: int) -> int:
    """Return ``bar_seconds`` when bars of that length tile a day.

    Raises:
        UsageError: zero, negative, or no divisor of 86,400 seconds.
    """
    if bar_seconds < 1 or 86_400 % bar_seconds != 0:
        raise UsageError(
            f"bar length: {bar_seconds} s found, a whole number of bars must make up a day"
        )
    return bar_seconds


def bar_label(seconds: int) -> str:
    """Return how people write a bar length: ``5min``, ``1h``, ``30s``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"

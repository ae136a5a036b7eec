"""The one way from a file to what the pipeline works on."""

from __future__ import annotations

import os

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.files import read_bars
from rllib_tactical.domain.types import Bars, Instrument, Sessions


def load_market(
    path: str | os.PathLike[str], instrument: Instrument, bar_seconds: int = BAR_SECONDS
) -> tuple[Bars, Sessions]:
    """Read and check a file of bars, and place each bar in its session.

    Raises:
        UnreadableError: the file cannot be read at all.
        DataError: the data break rules, or the calendar does not cover them.
        ConfigError: unknown calendar or time zone.
    """
    bars = read_bars(path, bar_seconds=bar_seconds)
    return bars, sessions_of(bars, instrument, bar_seconds)

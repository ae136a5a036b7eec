"""A history whose market goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rllib_tactical.data.calendar.sessions import next_bar_s, place_bars
from rllib_tactical.domain.simulation.history import MarketHistory


def as_of_its_last_bar(history: MarketHistory, bar_seconds: int) -> MarketHistory:
    """Return a history that may go on: its last bar ends a session only if the calendar says so."""
    sessions, instrument = history.sessions, history.instrument
    last_s = int(history.bars.timestamp_s[-1])
    following_s = next_bar_s(last_s, instrument, bar_seconds)
    ends = True
    if following_s is not None:
        both = np.array([last_s, following_s])
        placed = place_bars(both, instrument.calendar, instrument.timezone, bar_seconds)
        ends = bool(placed.begins[1])
    is_last = sessions.is_last.copy()
    is_last[-1] = bool(sessions.is_open[-1]) and ends
    return replace(history, sessions=replace(sessions, is_last=is_last))

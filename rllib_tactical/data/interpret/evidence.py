"""What bars show about the meaning of their times, by the calendar of their instrument."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from rllib_tactical.data.calendar.schedules import ALWAYS_OPEN, Schedule, trading_schedule
from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.domain.types import BoolArray, Instrument, IntArray
from rllib_tactical.errors import DataError, UsageError

_CLOSE_SHARE: Final = 0.8
_HINT_ZONES: Final = ("UTC", "Europe/Berlin", "Europe/London", "Asia/Tokyo", "America/New_York+7")
_HINT_ROWS: Final = 20_000


def has_sessions(instrument: Instrument | None) -> bool:
    """Return whether an instrument is known and its market closes at times."""
    return instrument is not None and instrument.calendar != ALWAYS_OPEN


def inside_sessions(time_s: IntArray, calendar: str, step_s: int) -> BoolArray:
    """Mark bars (N,) of ``step_s`` that open while the market is open, or through its opening.

    Raises:
        DataError: the calendar does not cover the times.
    """
    if time_s.size == 0:
        return np.zeros(0, dtype=np.bool_)
    schedule = trading_schedule(calendar, int(time_s.min()), int(time_s.max()))
    return _inside(schedule, time_s, step_s)


def zone_hint(local_micros: IntArray, instrument: Instrument) -> str:
    """Return which zones would put the bars into the instrument's sessions, as a sentence."""
    few = local_micros[:_HINT_ROWS]
    shares: dict[str, float] = {}
    for name in dict.fromkeys((instrument.timezone, *_HINT_ZONES)):
        utc, unknown = Zone.parse(name).to_utc(few)
        try:
            inside = inside_sessions(utc[~unknown] // MICROS, instrument.calendar, 60)
        except DataError:
            return ""
        shares[name] = float(inside.mean()) if inside.size else 0.0
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.5:
        return ""
    hint = f"; as {best} {shares[best]:.0%} of the bars lie in the sessions of {instrument.symbol}"
    return hint if best == "UTC" else f"{hint}, as UTC {shares['UTC']:.0%}"


def refuse_close_stamps(micros: IntArray, instrument: Instrument, step_s: int, source: str) -> None:
    """Refuse bars whose times look like those at which they close.

    Then each session lacks the bar of its opening and has one that opens at its close, and none
    after that: more of them are times of another zone. Only openings and closes at which the
    market is closed before or after show that.

    Raises:
        UsageError: at least four of five sessions look so; names the option that settles it.
    """
    time_s = np.unique(micros // MICROS)
    if time_s.size < 2 or step_s <= 0:
        return
    try:
        schedule = trading_schedule(instrument.calendar, int(time_s[0]), int(time_s[-1]))
    except DataError:
        return
    open_s, close_s = schedule.open_s, schedule.close_s
    seen = (open_s >= time_s[0] - step_s) & (close_s <= time_s[-1])
    seen &= ~_inside(schedule, open_s - step_s, 0) & ~_inside(schedule, close_s, 0)
    open_s, close_s = open_s[seen], close_s[seen]
    traded = np.searchsorted(time_s, close_s) > np.searchsorted(time_s, open_s)
    open_s, close_s = open_s[traded], close_s[traded]
    if open_s.size == 0:
        return
    # A session may open between two points of the bars' grid.
    first = open_s // step_s * step_s
    odd = ~np.isin(first, time_s) & np.isin(close_s, time_s)
    odd &= ~np.isin(close_s + step_s, time_s)
    if odd.mean() >= _CLOSE_SHARE:
        raise UsageError(
            f"{source}: {int(odd.sum())} of {odd.size} sessions lack the bar that opens with them "
            "and have one that would open at their close: the times look like those at which bars "
            "close. Give --stamp close, or --stamp open if bars do open then"
        )


def _inside(schedule: Schedule, time_s: IntArray, step_s: int) -> BoolArray:
    side: Literal["left", "right"] = "left" if step_s else "right"
    index = np.searchsorted(schedule.open_s, time_s + step_s, side=side) - 1
    known = index >= 0
    index = np.maximum(index, 0)
    pause = (time_s >= schedule.break_start_s[index]) & (time_s < schedule.break_end_s[index])
    inside: BoolArray = known & (time_s < schedule.close_s[index]) & ~pause
    return inside

"""Assign bars to the trading sessions of their instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.calendar.schedules import DAY_S, Schedule, trading_schedule
from rllib_tactical.domain.types import Bars, BoolArray, Instrument, IntArray, Sessions
from rllib_tactical.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Placement:
    """Where T bars stand in a schedule of S sessions; arrays of shape (T,).

    ``index`` (int64) is the scheduled session that the bar belongs to, -1 where it belongs to
    none; ``inside`` says whether the market is open during the bar; ``day`` (int64, days since
    1970-01-01) is the session's date and never falls.
    """

    schedule: Schedule
    index: IntArray
    inside: BoolArray
    day: IntArray


def sessions_of(bars: Bars, instrument: Instrument, bar_seconds: int = BAR_SECONDS) -> Sessions:
    """Return the session of each bar of ``bars``, by the instrument's calendar.

    A bar belongs to the session that is open during it. A bar outside of every session (before
    the open, after the close, on a holiday) belongs to its date in the instrument's time zone, so
    that pre-market bars join the session of the same day. ``is_last`` marks the last bar that the
    file has of a session, and also the last scheduled bar when later ones follow. ``elapsed`` is
    (bar close - scheduled open) / (scheduled close - open) clipped to 0..1; on a date without a
    session it is the share of the local day.

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: times do not strictly increase, or the calendar does not cover them.
    """
    time_s = bars.timestamp_s
    if time_s.size == 0:
        empty = np.zeros(0, dtype=np.bool_)
        return Sessions(np.zeros(0, dtype=np.int64), empty, empty.copy(), np.zeros(0))
    if time_s.size > 1 and bool(np.any(np.diff(time_s) <= 0)):
        raise DataError("bars: timestamps must strictly increase before sessions are assigned")
    placed = place_bars(time_s, instrument.calendar, instrument.timezone, bar_seconds)
    schedule = placed.schedule

    starts = np.concatenate(([True], placed.day[1:] != placed.day[:-1]))
    ends = np.concatenate((starts[1:], [True]))
    known = placed.index >= 0
    index = np.where(known, placed.index, 0)
    scheduled_last = placed.inside & (time_s + bar_seconds >= schedule.close_s[index])
    open_s, close_s = schedule.open_s[index], schedule.close_s[index]
    if not known.all():
        local_open_s = _local_midnight_s(placed.day[~known], instrument.timezone)
        open_s, close_s = open_s.copy(), close_s.copy()
        open_s[~known], close_s[~known] = local_open_s, local_open_s + DAY_S
    elapsed = np.clip((time_s + bar_seconds - open_s) / (close_s - open_s), 0.0, 1.0)
    return Sessions(
        session_id=np.cumsum(starts, dtype=np.int64) - 1,
        is_first=starts,
        is_last=ends | scheduled_last,
        elapsed=elapsed,
    )


def follow_sessions(
    previous_s: int | None, time_s: IntArray, instrument: Instrument, bar_seconds: int = BAR_SECONDS
) -> tuple[BoolArray, BoolArray, IntArray]:
    """Return what is known of bars at ``time_s`` (T,) when each of them closes, T > 0.

    Arrays of shape (T,): whether the bar is its session's first; whether it is the last that the
    calendar schedules for it; and how many scheduled bars are missing (int64) between it and the
    bar before, which for the first of them opened at ``previous_s``.

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: the calendar does not cover the times.
    """
    times = time_s if previous_s is None else np.concatenate(([previous_s], time_s))
    placed = place_bars(times, instrument.calendar, instrument.timezone, bar_seconds)
    close_s = placed.schedule.close_s[np.maximum(placed.index, 0)]
    last = placed.inside & (times + bar_seconds >= close_s)
    first = np.concatenate(([True], placed.day[1:] != placed.day[:-1]))
    slots = scheduled_slots(placed.schedule, times, bar_seconds)
    missing = np.concatenate(([0], np.maximum(np.diff(slots) - placed.inside[:-1], 0)))
    skip = len(times) - len(time_s)
    return first[skip:], last[skip:], missing[skip:].astype(np.int64)


def place_bars(time_s: IntArray, calendar: str, timezone: str, bar_seconds: int) -> Placement:
    """Find the session of bars that open at ``time_s`` (int64, shape (T,), not falling, T > 0).

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: the calendar does not cover the times.
    """
    schedule = trading_schedule(calendar, int(time_s[0]), int(time_s[-1]))
    # A bar belongs to the session from the moment on that its end lies after the open; this
    # matters only where an open is off the bar grid (a 1-hour bar around a 9:30 open).
    index = np.searchsorted(schedule.open_s, time_s + bar_seconds, side="left") - 1
    inside = (index >= 0) & (time_s < schedule.close_s[np.maximum(index, 0)])
    day = schedule.day[np.maximum(index, 0)].copy()
    outside = ~inside
    if outside.any():
        day[outside] = _local_day(time_s[outside], timezone)
        position = np.minimum(np.searchsorted(schedule.day, day[outside]), len(schedule) - 1)
        same_day = schedule.day[position] == day[outside]
        index[outside] = np.where(same_day, position, -1)
        # Keeps sessions contiguous where a session's date and a local date overlap.
        rising = np.maximum.accumulate(day)
        moved = rising != day
        if moved.any():
            position = np.minimum(np.searchsorted(schedule.day, rising), len(schedule) - 1)
            index = np.where(moved, np.where(schedule.day[position] == rising, position, -1), index)
            day = rising
    return Placement(schedule, index.astype(np.int64), inside, day)


def scheduled_slots(schedule: Schedule, time_s: IntArray, bar_seconds: int) -> IntArray:
    """Count the scheduled bars that open before ``time_s``, since the schedule's begin.

    ``time_s`` is int64 of any shape; the result has the same shape. The difference between two
    bars is the number of bars that the calendar expects from one to the other.
    """
    first, last = _scheduled_spans(schedule, bar_seconds)
    count = np.maximum(last - first, 0)
    before = np.concatenate(([0], np.cumsum(count)))
    slot = -(-time_s // bar_seconds)
    segment = np.searchsorted(first, slot, side="right") - 1
    safe = np.maximum(segment, 0)
    passed = before[safe] + np.clip(slot - first[safe], 0, count[safe])
    return np.where(segment >= 0, passed, 0).astype(np.int64)


def next_bar_s(time_s: int, instrument: Instrument, bar_seconds: int) -> int | None:
    """Return when the first scheduled bar after the one at ``time_s`` opens, in epoch seconds.

    None where the calendar does not know: it ends, or is closed for two weeks.
    """
    try:
        schedule = trading_schedule(instrument.calendar, time_s, time_s + 14 * DAY_S)
    except DataError:
        return None
    first, last = _scheduled_spans(schedule, bar_seconds)
    slot = time_s // bar_seconds + 1
    span = int(np.searchsorted(last, slot, side="right"))
    return None if span == len(last) else max(slot, int(first[span])) * bar_seconds


def opens_between(before_s: int, now_s: int, instrument: Instrument) -> bool:
    """Return whether a session opens after ``before_s`` and not after ``now_s``.

    False where the calendar does not cover these times.
    """
    try:
        opens = trading_schedule(instrument.calendar, before_s, now_s).open_s
    except DataError:
        return False
    return bool(((opens > before_s) & (opens <= now_s)).any())


def _scheduled_spans(schedule: Schedule, bar_seconds: int) -> tuple[IntArray, IntArray]:
    """Return first and last + 1 bar, counted since 1970, of each span without a break."""
    has_break = schedule.break_start_s < schedule.close_s
    open_s = np.concatenate((schedule.open_s, schedule.break_end_s[has_break]))
    close_s = np.concatenate((schedule.break_start_s, schedule.close_s[has_break]))
    order = np.argsort(open_s, kind="stable")
    # Bars lie on the epoch's grid: an open or close between two grid points is part of a bar.
    first = open_s[order] // bar_seconds
    last = -(-close_s[order] // bar_seconds)
    first[1:] = np.maximum(first[1:], last[:-1])
    return first, last


def require_timezone(name: str) -> ZoneInfo:
    """Return the time zone called ``name``.

    Raises:
        ConfigError: there is no such IANA time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"instrument.timezone: found {name!r}, expected an IANA name such as America/New_York"
        ) from error


def _local_day(time_s: IntArray, timezone: str) -> IntArray:
    zone = require_timezone(timezone)
    local = pd.DatetimeIndex(time_s.astype("datetime64[s]")).tz_localize("UTC").tz_convert(zone)
    days = cast(Any, local.tz_localize(None).to_numpy()).astype("datetime64[D]")
    return np.asarray(days.astype(np.int64), dtype=np.int64)


def _local_midnight_s(day: IntArray, timezone: str) -> IntArray:
    """Return the UTC epoch second at which each local ``day`` begins."""
    days, back = np.unique(day, return_inverse=True)
    midnight = pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[s]"))
    # Where clocks jump over midnight the day begins with the jump.
    local = midnight.tz_localize(
        require_timezone(timezone), nonexistent="shift_forward", ambiguous=True
    )
    utc = cast(Any, local.tz_convert(None).to_numpy()).astype("datetime64[s]")
    return np.asarray(utc.astype(np.int64), dtype=np.int64)[back]

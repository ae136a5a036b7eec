"""Assign bars to the trading sessions of their instrument."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.calendar.schedules import DAY_S, Schedule, trading_schedule
from rllib_tactical.domain.decision.missing_bars import bars_since_gap
from rllib_tactical.domain.types import Bars, BoolArray, Instrument, IntArray, Sessions
from rllib_tactical.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Placement:
    """Where T bars stand in a schedule of S sessions; arrays of shape (T,).

    ``index`` (int64) is the scheduled session that the bar belongs to, -1 where it belongs to
    none; ``inside`` says whether the bar lies between the open and the close of that session;
    ``is_open`` whether the market is open during the bar, that is inside and not in a break;
    ``begins`` whether a session begins with the bar, the first one's included; ``day`` (int64, days
    since 1970-01-01) is the session's date and never falls.
    """

    schedule: Schedule
    index: IntArray
    inside: BoolArray
    is_open: BoolArray
    begins: BoolArray
    day: IntArray


def market_is_open(schedule: Schedule, moment_s: IntArray) -> BoolArray:
    """Return whether an order can be given at ``moment_s`` (N,): the one rule, for all that trade.

    The market is open between a session's open and close, breaks excepted. At the open itself and
    at the end of a break the first price is still to come, and at the close none will: all of
    these are closed.
    """
    index = np.searchsorted(schedule.open_s, moment_s, side="left") - 1
    safe = np.maximum(index, 0)
    in_session = (index >= 0) & (moment_s < schedule.close_s[safe])
    in_break = (schedule.break_start_s[safe] <= moment_s) & (moment_s <= schedule.break_end_s[safe])
    return np.asarray(in_session & ~in_break)


def sessions_of(bars: Bars, instrument: Instrument, bar_seconds: int = BAR_SECONDS) -> Sessions:
    """Return the session of each bar of ``bars``, by the instrument's calendar.

    A bar belongs to the session that is open during it. With a bar outside of every session
    (before the open, after the close, on a holiday) no session begins and none ends: it counts to
    the session that follows, or to the last one. ``is_last`` marks the last bar of each session
    during which the market is open; where the file lacks the scheduled last one, the last that it
    has. ``elapsed`` is (bar close - scheduled open) / (scheduled close - open) clipped to 0..1;
    outside, of the session of the local date, and on a date without one the share of the day.

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: times do not strictly increase, or the calendar does not cover them.
    """
    time_s = bars.timestamp_s
    if time_s.size == 0:
        none = np.zeros(0, dtype=np.bool_)
        return Sessions.without_gaps(np.zeros(0, dtype=np.int64), none, none, np.zeros(0))
    if time_s.size > 1 and bool(np.any(np.diff(time_s) <= 0)):
        raise DataError("bars: timestamps must strictly increase before sessions are assigned")
    placed = place_bars(time_s, instrument.calendar, instrument.timezone, bar_seconds)
    schedule = placed.schedule

    begun = np.cumsum(placed.begins, dtype=np.int64)
    session_id = np.clip(begun - placed.inside, 0, max(int(begun[-1]) - 1, 0))
    known = placed.index >= 0
    index = np.where(known, placed.index, 0)
    open_s, close_s = schedule.open_s[index], schedule.close_s[index]
    if not known.all():
        local_open_s = _local_midnight_s(placed.day[~known], instrument.timezone)
        open_s, close_s = open_s.copy(), close_s.copy()
        open_s[~known], close_s[~known] = local_open_s, local_open_s + DAY_S
    elapsed = np.clip((time_s + bar_seconds - open_s) / (close_s - open_s), 0.0, 1.0)
    return Sessions(
        session_id=session_id,
        is_first=placed.begins,
        is_last=_last_of_each(session_id, placed.is_open),
        elapsed=elapsed,
        is_open=placed.is_open,
        tradable=market_is_open(schedule, time_s + bar_seconds),
        since_gap=bars_since_gap(_missing_before(placed, time_s, bar_seconds)),
    )


def _last_of_each(session_id: IntArray, is_open: BoolArray) -> BoolArray:
    """Return the last open bar (T,) of each session that has one."""
    last = np.zeros(len(is_open), dtype=np.bool_)
    bar = is_open.nonzero()[0]
    last[bar] = np.append(np.diff(session_id[bar]) != 0, True)[: len(bar)]
    return last


def follow_sessions(
    previous_s: int | None, time_s: IntArray, instrument: Instrument, bar_seconds: int = BAR_SECONDS
) -> tuple[BoolArray, BoolArray, IntArray]:
    """Return what is known of bars at ``time_s`` (T,) when each of them closes, T > 0.

    Arrays of shape (T,): whether a session begins with the bar; whether the market is open at its
    end; and how many scheduled bars are missing (int64) between it and the bar before, which for
    the first of them opened at ``previous_s``.

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: the calendar does not cover the times.
    """
    times = time_s if previous_s is None else np.concatenate(([previous_s], time_s))
    placed = place_bars(times, instrument.calendar, instrument.timezone, bar_seconds)
    tradable = market_is_open(placed.schedule, times + bar_seconds)
    missing = _missing_before(placed, times, bar_seconds)
    skip = len(times) - len(time_s)
    return placed.begins[skip:], tradable[skip:], missing[skip:]


def _missing_before(placed: Placement, time_s: IntArray, bar_seconds: int) -> IntArray:
    """Return how many scheduled bars are missing between each bar (T,) and the one before."""
    slots = scheduled_slots(placed.schedule, time_s, bar_seconds)
    missing = np.maximum(np.diff(slots) - placed.is_open[:-1], 0)
    return np.concatenate(([0], missing)).astype(np.int64)


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
    safe = np.maximum(index, 0)
    inside = (index >= 0) & (time_s < schedule.close_s[safe])
    in_break = schedule.break_start_s[safe] <= time_s
    in_break &= time_s + bar_seconds <= schedule.break_end_s[safe]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | (index[1:] != index[:-1])
    day = schedule.day[safe].copy()
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
    return Placement(schedule, index.astype(np.int64), inside, inside & ~in_break, begins, day)


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
    # Times before the first segment have none of its bars behind them.
    segment = np.maximum(segment, 0)
    passed = slot - first[segment]
    del slot  # of a long file the arrays are large
    passed = np.clip(passed, 0, count[segment])
    passed += before[segment]
    return np.asarray(passed, dtype=np.int64)


def next_bar_s(time_s: int, instrument: Instrument, bar_seconds: int) -> int | None:
    """Return when the first scheduled bar after the one at ``time_s`` opens, in epoch seconds.

    None where the calendar does not know: it ends, or is closed for two weeks.
    """
    spans = _spans_from(instrument.calendar, time_s // DAY_S, bar_seconds)
    if spans is None:
        return None
    first, last = spans
    slot = time_s // bar_seconds + 1
    span = int(np.searchsorted(last, slot, side="right"))
    return None if span == len(last) else max(slot, int(first[span])) * bar_seconds


@lru_cache(maxsize=64)
def _spans_from(calendar: str, day: int, bar_seconds: int) -> tuple[IntArray, IntArray] | None:
    """Return the ``_scheduled_spans`` of a day and the 14 days after it, None where unknown."""
    try:
        schedule = trading_schedule(calendar, day * DAY_S, (day + 15) * DAY_S - 1)
    except DataError:
        return None
    return _scheduled_spans(schedule, bar_seconds)


def opens_between(before_s: int, now_s: int, instrument: Instrument) -> bool:
    """Return whether a session opens after ``before_s`` and not after ``now_s``.

    False where the calendar does not cover these times.
    """
    try:
        opens = trading_schedule(instrument.calendar, before_s, now_s).open_s
    except DataError:
        return False
    return bool(((opens > before_s) & (opens <= now_s)).any())


def session_close_s(now_s: int, instrument: Instrument) -> int | None:
    """Return when the session that is open at ``now_s`` closes, in epoch seconds; None for none.

    None also where the calendar does not cover that time.
    """
    try:
        schedule = trading_schedule(instrument.calendar, now_s, now_s)
    except DataError:
        return None
    place = int(np.searchsorted(schedule.open_s, now_s, side="right")) - 1
    if place < 0 or now_s >= schedule.close_s[place]:
        return None
    return int(schedule.close_s[place])


class MarketClock:
    """Tells at any moment whether a market is open, without a look at the calendar each time."""

    def __init__(self, instrument: Instrument) -> None:
        self._calendar = instrument.calendar
        self._from_s, self._until_s, self._open = 1, 0, False  # covers no moment yet

    def is_open(self, now_s: float) -> bool:
        """Return whether an order can be given at epoch time ``now_s``.

        Closed where the calendar does not cover that time.
        """
        second = int(now_s)
        if not self._from_s <= second < self._until_s:
            self._look_up(second)
        return self._open

    def _look_up(self, second: int) -> None:
        try:
            schedule = trading_schedule(self._calendar, second, second + DAY_S)
        except DataError:
            self._from_s, self._until_s, self._open = second, second + DAY_S, False
            return
        # what ``market_is_open`` says changes in the second of an edge and in the one after it
        edges = np.concatenate(
            (schedule.open_s, schedule.close_s, schedule.break_start_s, schedule.break_end_s)
        )
        edges = np.unique(np.concatenate((edges, edges + 1)))
        place = int(np.searchsorted(edges, second, side="right"))
        self._from_s = int(edges[place - 1]) if place else second
        self._until_s = int(edges[place]) if place < len(edges) else second + 1
        self._open = bool(market_is_open(schedule, np.array([second]))[0])


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
    import pandas as pd

    zone = require_timezone(timezone)
    local = pd.DatetimeIndex(time_s.astype("datetime64[s]")).tz_localize("UTC").tz_convert(zone)
    days = cast(Any, local.tz_localize(None).to_numpy()).astype("datetime64[D]")
    return np.asarray(days.astype(np.int64), dtype=np.int64)


def _local_midnight_s(day: IntArray, timezone: str) -> IntArray:
    """Return the UTC epoch second at which each local ``day`` begins."""
    import pandas as pd

    days, back = np.unique(day, return_inverse=True)
    midnight = pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[s]"))
    # Where clocks jump over midnight the day begins with the jump.
    local = midnight.tz_localize(
        require_timezone(timezone), nonexistent="shift_forward", ambiguous=True
    )
    utc = cast(Any, local.tz_convert(None).to_numpy()).astype("datetime64[s]")
    return np.asarray(utc.astype(np.int64), dtype=np.int64)[back]

"""Trading schedules: when each session of a calendar opens and closes.

Schedules and holidays come from ``exchange_calendars``, but for those markets of which it knows too
little: see ``corrections``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np

from rllib_tactical.data.calendar.corrections import CLOSINGS, own_calendar
from rllib_tactical.domain.types import IntArray
from rllib_tactical.errors import ConfigError, DataError

DAY_S: Final = 86_400
ALWAYS_OPEN: Final = "24/7"
# Datetimes, and so calendars, cannot go beyond these; real bars never come near them.
FIRST_S: Final = -2_208_988_800  # 1900-01-01
LAST_S: Final = 7_258_118_400  # 2200-01-01


@dataclass(frozen=True, slots=True)
class Schedule:
    """S sessions in time order; int64 arrays of shape (S,), times in UTC epoch seconds.

    ``day`` numbers the session's date in days since 1970-01-01. ``break_start_s`` and
    ``break_end_s`` bound the midday break and equal ``close_s`` in a session without one.
    """

    day: IntArray
    open_s: IntArray
    close_s: IntArray
    break_start_s: IntArray
    break_end_s: IntArray

    def __len__(self) -> int:
        """Return the number of sessions."""
        return int(self.day.shape[0])


def require_calendar(name: str) -> None:
    """Check that a calendar of this name exists.

    Raises:
        ConfigError: neither ``24/7``, nor one of ``corrections`` or of ``exchange_calendars``.
    """
    if name == ALWAYS_OPEN or name in CLOSINGS:
        return
    library = _library()
    known = library.get_calendar_names(include_aliases=True)
    if name not in known:
        shown = ", ".join(sorted(library.get_calendar_names(include_aliases=False)))
        own = ", ".join(CLOSINGS)
        raise ConfigError(
            f"instrument.calendar: found {name!r}, expected 24/7, {own} or one of {shown}"
        )


def trading_schedule(calendar: str, first_s: int, last_s: int) -> Schedule:
    """Return the sessions of ``calendar`` around the span ``first_s`` .. ``last_s``.

    The result holds every session that overlaps the span, and more. ``24/7`` is one session per
    UTC day. Building a calendar takes a good part of a second, so whole years are built and kept.

    Raises:
        ConfigError: there is no such calendar.
        DataError: the calendar does not cover the span.
    """
    require_calendar(calendar)
    if first_s < FIRST_S or last_s >= LAST_S:
        raise DataError(
            f"calendar {calendar} covers the years 1900 to 2199; the bars span "
            f"{np.datetime64(first_s, 's')} to {np.datetime64(last_s, 's')}"
        )
    if calendar == ALWAYS_OPEN:
        return _always_open(first_s, last_s)
    # A week on each side, so that weekends and holidays at the ends have neighbors.
    first = datetime.fromtimestamp(first_s, UTC) - timedelta(days=7)
    last = datetime.fromtimestamp(last_s, UTC) + timedelta(days=7)
    try:
        return _build(calendar, f"{first.year}-01-01", f"{last.year}-12-31")
    except ValueError:
        pass
    try:
        # Some calendars are bounded within a year.
        return _build(calendar, f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}")
    except ValueError as error:
        raise DataError(f"calendar {calendar} does not cover the bars: {error}") from error


@lru_cache(maxsize=32)
def _build(name: str, first_day: str, last_day: str) -> Schedule:
    library = _library()
    with warnings.catch_warnings():
        # The library still uses pandas idioms that pandas has deprecated.
        warnings.simplefilter("ignore")
        if name in CLOSINGS:
            calendar = own_calendar(name)(start=first_day, end=last_day)
        else:
            try:
                calendar = library.get_calendar(name, start=first_day, end=last_day)
            except library.errors.CalendarError as error:
                raise ValueError(str(error)) from error
        table = calendar.schedule
    day = table.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    open_s, close_s = _seconds(table["open"]), _seconds(table["close"])
    has_break = np.asarray(table["break_start"].notna(), dtype=np.bool_)
    return Schedule(
        day=day,
        open_s=open_s,
        close_s=close_s,
        break_start_s=np.where(has_break, _seconds(table["break_start"]), close_s),
        break_end_s=np.where(has_break, _seconds(table["break_end"]), close_s),
    )


def _always_open(first_s: int, last_s: int) -> Schedule:
    day = np.arange(first_s // DAY_S, last_s // DAY_S + 1, dtype=np.int64)
    close_s = (day + 1) * DAY_S
    return Schedule(day, day * DAY_S, close_s, close_s, close_s)


def _seconds(column: Any) -> IntArray:
    moments = column.dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    return np.asarray(moments.astype(np.int64), dtype=np.int64)


def _library() -> Any:
    # Imported late: it takes most of a second, and 24/7 markets do not need it.
    import exchange_calendars

    return exchange_calendars

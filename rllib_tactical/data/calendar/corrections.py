"""Closings of markets that the calendar library does not know or has wrong, each with its source.

The library keeps one calendar for all of CME, without Juneteenth, with one early close for all
days and markets, and closed on days of mourning on which futures traded until the morning; spot FX
it does not have. What stands here replaces it for ``CMES`` (equity index futures), ``COMEX`` (gold
and other metals) and ``FX`` (spot). Where sources give two times, the earlier one is taken: a
market that is held to be closed is not traded. The daily halt at 15:15 and the other daily closes
that equity index futures had until 2021 are not kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

CME_2005: Final = (
    "https://www.cmegroup.com/media-room/press-releases/2005/3/16/"
    "cme_announces_goodfridayholidaytradinghours.html"
)
CME_2007: Final = (
    "https://www.cmegroup.com/media-room/press-releases/2007/8/20/"
    "cme_group_announceslabordayholidayhours.html"
)
CME_2018: Final = (
    "https://www.prnewswire.com/news-releases/cme-group-us-equity-interest-rate-markets-to-close-"
    "for-national-day-of-mourning-300758702.html"
)
CME_2025: Final = (
    "https://mondovisione.com/media-and-resources/news/"
    "cme-group-announces-trading-hours-for-us-national-day-of-mourning-to-honor-for/"
)
CME_HOURS: Final = "https://www.cmegroup.com/trading-hours.html"
CME_HOLIDAYS: Final = "https://www.cmegroup.com/tools-information/holiday-calendar.html"
CALENDARS: Final = "https://github.com/rsheftel/pandas_market_calendars (CME Globex)"
JUNETEENTH: Final = (
    "https://www.forexlive.com/news/us-markets-closed-for-juneteenth-on-wednesday-june-19th-"
    "market-hours-impact-20240617/"
)
TRANSACT: Final = (
    "http://optionsthinktank.blogspot.com/2013/06/trading-schedule-times-given-are.html"
)
IG_2024: Final = (
    "https://community.ig.com/blogs/entry/2770-trading-hours-on-martin-luther-king-jr-day/"
)
FXOPEN: Final = (
    "https://fxopen.com/en/news/trading-hours-schedule-for-the-2024-2025-winter-holiday-period/"
)
FXOPEN_2022: Final = (
    "https://fxopen.com/en-cy/news/trading-schedule-for-the-2022-2023-winter-holiday-period/"
)


@dataclass(frozen=True, slots=True)
class Closing:
    """Days on which a market closes early, or at all.

    ``day`` is a name of ``_rule``, or one date; ``close`` the local time of the close, None where
    there is no session; ``first`` and ``last`` the years in which it holds.
    """

    day: str
    close: datetime.time | None
    source: str
    first: int = 1998
    last: int = 2199


def _at(hour: int, minute: int = 0) -> datetime.time:
    return datetime.time(hour, minute)


NOON_DAYS: Final = ("MLK Day", "Presidents Day", "Memorial Day", "Independence Day", "Labor Day")
_JOBS: Final = (2010, 2012, 2015, 2021, 2023, 2026)
"""Years in which the employment report comes on Good Friday and equity futures trade for it."""

CMES: Final = (
    Closing("New Year's Day", None, CME_HOLIDAYS),
    Closing("Christmas", None, CME_HOLIDAYS),
    Closing("Good Friday", None, CME_2005),
    *(Closing("Good Friday", _at(8, 15), CALENDARS, year, year) for year in _JOBS),
    *(Closing(day, _at(10, 30), CME_2007, 1998, 2013) for day in NOON_DAYS),
    Closing("MLK Day", _at(10, 30), CALENDARS, 2014, 2014),
    Closing("Presidents Day", _at(10, 30), CALENDARS, 2014, 2014),
    Closing("MLK Day", _at(12), CME_HOURS, 2015),
    Closing("Presidents Day", _at(12), CME_HOURS, 2015),
    *(Closing(day, _at(12), CME_HOURS, 2014) for day in NOON_DAYS[2:]),
    Closing("Thanksgiving", _at(10, 30), CALENDARS, 1998, 2013),
    Closing("Thanksgiving", _at(12), CME_HOURS, 2014),
    Closing("Juneteenth", _at(12), JUNETEENTH, 2022),
    Closing("day after Thanksgiving", _at(12, 15), CME_HOURS),
    Closing("Christmas Eve", _at(12, 15), CME_HOURS),
    Closing("day before Independence Day", _at(12, 15), TRANSACT),
    Closing("2018-12-05", _at(8, 30), CME_2018, 2018, 2018),
    Closing("2025-01-09", _at(8, 30), CME_2025, 2025, 2025),
)

COMEX: Final = (
    Closing("New Year's Day", None, CME_HOLIDAYS),
    Closing("Christmas", None, CME_HOLIDAYS),
    Closing("Good Friday", None, CALENDARS),
    *(Closing(day, _at(12), CALENDARS, 1998, 2021) for day in NOON_DAYS),
    *(Closing(day, _at(13, 30), IG_2024, 2022) for day in NOON_DAYS[:-1]),
    Closing("Labor Day", _at(12), CALENDARS, 2022),
    Closing("Juneteenth", _at(13, 30), CALENDARS, 2022),
    Closing("Thanksgiving", _at(12), CALENDARS, 1998, 2021),
    Closing("Thanksgiving", _at(13, 30), CALENDARS, 2022),
    Closing("day after Thanksgiving", _at(12, 45), CALENDARS),
    Closing("Christmas Eve", _at(12, 45), FXOPEN),
)

FX: Final = (
    Closing("1 January", None, FXOPEN),
    Closing("25 December", None, FXOPEN_2022),
)

CLOSINGS: Final = {"CMES": CMES, "COMEX": COMEX, "FX": FX}
"""The table: for each calendar of our own, when it closes besides weekends."""

_HOURS: Final = {
    # name: time zone, open on the day before, close
    "CMES": ("America/Chicago", _at(17), _at(16)),
    "COMEX": ("America/Chicago", _at(17), _at(16)),
    "FX": ("America/New_York", _at(17), _at(17)),
}


@lru_cache(maxsize=8)
def own_calendar(calendar: str) -> Any:
    """Return the ``ExchangeCalendar`` class of a calendar that is described here."""
    from zoneinfo import ZoneInfo

    from exchange_calendars import ExchangeCalendar
    from exchange_calendars.exchange_calendar import HolidayCalendar

    zone, opens, closes = _HOURS[calendar]
    rows = CLOSINGS[calendar]
    early = sorted({row.close for row in rows if row.close is not None})
    # a day with an early close of its own is no holiday in that year
    whole = [row for row in rows if row.close is None]
    traded = {(row.day, row.first) for row in rows if row.close and row.first == row.last}

    class OwnCalendar(ExchangeCalendar):  # type: ignore[misc]
        """A calendar of the table of closings."""

        name = calendar
        tz = ZoneInfo(zone)
        open_times = ((None, opens),)
        close_times = ((None, closes),)
        open_offset = -1
        regular_holidays = HolidayCalendar(
            [each for row in whole for each in _holidays(row, traded)]
        )
        special_closes = [  # noqa: RUF012 - the library reads it and leaves it alone
            (
                at,
                HolidayCalendar(
                    [each for row in rows if row.close == at for each in _holidays(row, set())]
                ),
            )
            for at in early
        ]

    return OwnCalendar


def _holidays(row: Closing, traded: set[tuple[str, int]]) -> list[Any]:
    """Return the rules of a row's days, without the years in which they are ``traded``."""
    years = [year for day, year in traded if day == row.day]
    spans, first = [], row.first
    for year in sorted(years):
        spans.append((first, year - 1))
        first = year + 1
    spans.append((first, row.last))
    return [_rule(row.day, first, last) for first, last in spans if first <= last]


def _rule(day: str, first: int, last: int) -> Any:
    """Return the pandas rule of a day by name, or of one date, from year to year."""
    from pandas import Timestamp
    from pandas.tseries.holiday import Holiday, nearest_workday, sunday_to_monday
    from pandas.tseries.offsets import Day, Easter

    def on_or_after(weekday: int, then: int = 0) -> Callable[[Any], Any]:
        return lambda date: date + datetime.timedelta((weekday - date.weekday()) % 7 + then)

    monday, thursday = 0, 3
    if day[:1].isdigit() and "-" in day:
        date = Timestamp(day)
        return Holiday(day, year=date.year, month=date.month, day=date.day)
    rules: dict[str, dict[str, Any]] = {
        "New Year's Day": {"month": 1, "day": 1, "observance": sunday_to_monday},
        "1 January": {"month": 1, "day": 1},
        "MLK Day": {"month": 1, "day": 15, "observance": on_or_after(monday)},
        "Presidents Day": {"month": 2, "day": 15, "observance": on_or_after(monday)},
        "Good Friday": {"month": 1, "day": 1, "offset": [Easter(), Day(-2)]},
        "Memorial Day": {"month": 5, "day": 25, "observance": on_or_after(monday)},
        "Juneteenth": {"month": 6, "day": 19, "observance": nearest_workday},
        "Independence Day": {"month": 7, "day": 4, "observance": nearest_workday},
        # when the holiday itself is a Tuesday to a Friday
        "day before Independence Day": {"month": 7, "day": 3, "days_of_week": (0, 1, 2, 3)},
        "Labor Day": {"month": 9, "day": 1, "observance": on_or_after(monday)},
        "Thanksgiving": {"month": 11, "day": 22, "observance": on_or_after(thursday)},
        "day after Thanksgiving": {
            "month": 11,
            "day": 22,
            "observance": on_or_after(thursday, 1),
        },
        "Christmas Eve": {"month": 12, "day": 24, "days_of_week": (0, 1, 2, 3)},
        "Christmas": {"month": 12, "day": 25, "observance": nearest_workday},
        "25 December": {"month": 12, "day": 25},
    }
    span: dict[str, Any] = {
        "start_date": Timestamp(first, 1, 1),
        "end_date": Timestamp(last, 12, 31),
    }
    return Holiday(day, **rules[day], **span)

"""Closes as the exchanges published them, written by hand from the sources of each row."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from rllib_tactical.data.calendar.corrections import CLOSINGS
from rllib_tactical.data.calendar.schedules import DAY_S, trading_schedule
from rllib_tactical.data.calendar.sessions import market_is_open

CHICAGO, NEW_YORK = ZoneInfo("America/Chicago"), ZoneInfo("America/New_York")


def close_of(calendar: str, day: str, zone: ZoneInfo) -> str:
    """Return the local time at which the session of a day closes, ``closed`` without one."""
    number = int(np.datetime64(day, "D").astype(np.int64))
    schedule = trading_schedule(calendar, number * DAY_S, (number + 1) * DAY_S)
    found = np.flatnonzero(schedule.day == number)
    if not len(found):
        return "closed"
    return f"{datetime.fromtimestamp(int(schedule.close_s[found[0]]), zone):%H:%M}"


@pytest.mark.parametrize(
    ("day", "equity", "metals"),
    [
        # Chicago time. CME press release of 2018-12-02: US equity products close at 8:30 after
        # overnight trading, all other markets have regular hours
        ("2018-12-05", "08:30", "16:00"),
        # CME press release of 2024-12-30: equity until 8:30, metals normal
        ("2025-01-09", "08:30", "16:00"),
        # CME press release of 2005-03-16: closed in observance of Good Friday
        ("2005-03-25", "closed", "closed"),
        ("2024-03-29", "closed", "closed"),
        ("2025-04-18", "closed", "closed"),
        # the employment report came on Good Friday
        ("2015-04-03", "08:15", "closed"),
        ("2021-04-02", "08:15", "closed"),
        # CME press release of 2007-08-20: equity indexes halt at 10:30 and resume at 17:00
        ("2007-09-03", "10:30", "12:00"),
        # schedule of 2013-06-28: equity index 12:15 on the 3rd, 10:30 on the 4th
        ("2013-07-03", "12:15", "16:00"),
        ("2013-07-04", "10:30", "12:00"),
        ("2013-07-05", "16:00", "16:00"),
        # 2017: 1:15 p.m. Eastern on July 3, 1:00 p.m. on July 4, Thanksgiving and the day after
        ("2017-07-03", "12:15", "16:00"),
        ("2017-07-04", "12:00", "12:00"),
        ("2017-11-23", "12:00", "12:00"),
        ("2017-11-24", "12:15", "12:45"),
        # July 4 on a Saturday: the Friday is the holiday, the Thursday is whole
        ("2026-07-02", "16:00", "16:00"),
        ("2026-07-03", "12:00", "13:30"),
        # Juneteenth is a holiday since 2022; on a Sunday it moves to Monday
        ("2021-06-18", "16:00", "16:00"),
        ("2022-06-20", "12:00", "13:30"),
        ("2024-06-18", "16:00", "16:00"),
        ("2024-06-19", "12:00", "13:30"),
        ("2026-06-19", "12:00", "13:30"),
        # 2024-01-15: index futures close at 6 p.m. GMT, metals at 7.30 p.m. GMT
        ("2024-01-15", "12:00", "13:30"),
        ("2026-01-19", "12:00", "13:30"),
        ("2024-11-28", "12:00", "13:30"),
        ("2024-11-29", "12:15", "12:45"),
        # 2024-12-24: index at 18:15 GMT, gold at 18:45 GMT
        ("2024-12-24", "12:15", "12:45"),
        ("2024-12-25", "closed", "closed"),
        ("2021-12-24", "closed", "closed"),  # Christmas on a Saturday
        ("2023-01-02", "closed", "closed"),  # New Year's Day on a Sunday
        ("2024-12-31", "16:00", "16:00"),
    ],
)
def test_closes_of_futures(day: str, equity: str, metals: str) -> None:
    assert close_of("CMES", day, CHICAGO) == equity
    assert close_of("COMEX", day, CHICAGO) == metals


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2024-12-24", "17:00"),
        ("2024-12-25", "closed"),
        ("2024-12-26", "17:00"),
        ("2024-01-01", "closed"),
        # a holiday on a weekend moves to no other day of a market that never sleeps
        ("2021-12-24", "17:00"),
        ("2022-12-26", "17:00"),
        ("2023-01-02", "17:00"),
        ("2024-07-04", "17:00"),
    ],
)
def test_closes_of_spot_fx(day: str, close: str) -> None:
    assert close_of("FX", day, NEW_YORK) == close


def test_globex_halts_an_hour_each_day_and_opens_on_sunday() -> None:
    for calendar in ("CMES", "COMEX"):
        first = int(np.datetime64("2024-06-23T00:00", "s").astype(np.int64))  # a Sunday
        schedule = trading_schedule(calendar, first, first + 3 * DAY_S)
        moments = first + 60 * np.arange(2 * 24 * 60)
        is_open = market_is_open(schedule, moments)
        opened = moments[1:][is_open[1:] & ~is_open[:-1]]
        shut = moments[1:][~is_open[1:] & is_open[:-1]]
        assert [f"{datetime.fromtimestamp(int(t) - 60, CHICAGO):%a %H:%M}" for t in opened] == [
            "Sun 17:00",
            "Mon 17:00",
        ]
        assert [f"{datetime.fromtimestamp(int(t), CHICAGO):%a %H:%M}" for t in shut] == [
            "Mon 16:00"
        ]


def test_the_documentation_has_every_row(project_root: Path) -> None:
    page = (project_root / "docs" / "reference" / "market-hours.md").read_text(encoding="utf-8")
    for calendar, rows in CLOSINGS.items():
        for row in rows:
            close = "closed" if row.close is None else f"{row.close:%H:%M}"
            line = f"| `{calendar}` | {row.day} | {close} | {_years(row.first, row.last)} | "
            assert line + f"<{row.source}> |" in page or line + f"{row.source} |" in page, line


def _years(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"from {first}" if last == 2199 else f"{first} to {last}"

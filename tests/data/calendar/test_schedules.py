from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.calendar.schedules import DAY_S, LAST_S, trading_schedule
from rllib_tactical.errors import ConfigError, DataError


def seconds(*times: str) -> np.ndarray:
    return (
        pd.to_datetime(list(times), utc=True)
        .tz_localize(None)
        .to_numpy()
        .astype("datetime64[s]")
        .astype(np.int64)
    )


def test_cme_early_close_keeps_its_hour() -> None:
    schedule = trading_schedule("CMES", *seconds("2022-11-24", "2022-11-26").tolist())
    closes = seconds("2022-11-23 22:00", "2022-11-24 18:00", "2022-11-25 18:15")
    assert np.isin(closes, schedule.close_s).all()


def test_around_the_clock_is_a_session_per_utc_day() -> None:
    schedule = trading_schedule("24/7", 3 * DAY_S + 1, 5 * DAY_S)
    assert schedule.day.tolist() == [3, 4, 5]
    assert schedule.open_s.tolist() == [3 * DAY_S, 4 * DAY_S, 5 * DAY_S]
    assert schedule.close_s.tolist() == [4 * DAY_S, 5 * DAY_S, 6 * DAY_S]
    assert (schedule.break_start_s == schedule.close_s).all()  # no midday break


def test_a_midday_break_is_part_of_its_session() -> None:
    # Hong Kong trades 9:30-12:00 and 13:00-16:00 local time (UTC+8)
    first, last = seconds("2022-01-04", "2022-01-05").tolist()
    schedule = trading_schedule("XHKG", first, last)
    (row,) = np.flatnonzero(schedule.day == first // DAY_S)
    opens, noon, one, closes = seconds(
        "2022-01-04 01:30", "2022-01-04 04:00", "2022-01-04 05:00", "2022-01-04 08:00"
    )
    assert (schedule.open_s[row], schedule.close_s[row]) == (opens, closes)
    assert (schedule.break_start_s[row], schedule.break_end_s[row]) == (noon, one)


def test_spot_fx_opens_on_sunday_and_keeps_two_holidays() -> None:
    first, last = seconds("2021-12-20", "2022-01-14").tolist()
    schedule = trading_schedule("FX", first, last)
    opens = pd.to_datetime(schedule.open_s, unit="s", utc=True).tz_convert("America/New_York")
    assert set(opens.hour) == {17}
    assert set(opens.day_name()) == {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday"}
    days = pd.to_datetime(schedule.day * DAY_S, unit="s").strftime("%m-%d")
    assert "12-23" in days
    assert not {"12-25", "01-01"} & set(days)


def test_what_no_calendar_covers_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="found 'XMOON', expected 24/7, CMES, COMEX, FX or one of"
    ):
        trading_schedule("XMOON", 0, DAY_S)
    with pytest.raises(DataError, match="covers the years 1900 to 2199"):
        trading_schedule("24/7", 0, LAST_S)
    with pytest.raises(DataError, match="calendar XSHG does not cover the bars"):
        trading_schedule("XSHG", *seconds("2150-01-01", "2150-02-01").tolist())

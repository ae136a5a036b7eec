from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.calendar.schedules import trading_schedule
from rllib_tactical.data.calendar.sessions import (
    MarketClock,
    follow_sessions,
    market_is_open,
    next_bar_s,
    scheduled_slots,
    sessions_of,
)
from rllib_tactical.data.dataset import load_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.types import Instrument, Sessions
from rllib_tactical.errors import ConfigError, DataError
from tests.data.tables import START_S, times_bars, walk_bars


def seconds(*times: str) -> np.ndarray:
    return (
        pd.to_datetime(list(times), utc=True)
        .tz_localize(None)
        .to_numpy()
        .astype("datetime64[s]")
        .astype(np.int64)
    )


def span(start: str, end: str, step: int = 300) -> np.ndarray:
    first, last = seconds(start, end)
    return np.arange(first, last, step)


def place(time_s: np.ndarray, name: str = "TQQQ") -> Sessions:
    return sessions_of(times_bars(time_s), load_instrument(name))


def test_around_the_clock_means_utc_days() -> None:
    sessions = place(START_S + 300 * np.arange(3 * 288), "BTCUSDT")
    assert sessions.session_id.tolist() == np.repeat([0, 1, 2], 288).tolist()
    assert np.flatnonzero(sessions.is_first).tolist() == [0, 288, 576]
    assert np.flatnonzero(sessions.is_last).tolist() == [287, 575, 863]
    assert sessions.elapsed[0] == 300 / 86_400
    assert sessions.elapsed[287] == 1.0


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("2022-03-11", "14:30", "21:00"),
        ("2022-03-14", "13:30", "20:00"),
        ("2022-11-04", "13:30", "20:00"),
        ("2022-11-07", "14:30", "21:00"),
    ],
)
def test_us_daylight_saving(day: str, opens: str, closes: str) -> None:
    sessions = place(span(f"{day} {opens}", f"{day} {closes}"))
    assert sessions.elapsed[0] == pytest.approx(1 / 78)
    assert sessions.elapsed[-1] == 1.0
    assert sessions.is_last.sum() == sessions.is_first.sum() == 1


def test_half_day_ends_at_one() -> None:
    sessions = place(span("2022-11-25 14:30", "2022-11-25 18:00"))
    assert len(sessions.elapsed) == 42
    assert sessions.elapsed[-1] == 1.0


def test_no_session_begins_on_a_holiday() -> None:
    time_s = np.concatenate(
        [
            span("2022-07-01 13:30", "2022-07-01 20:00"),
            span("2022-07-04 13:30", "2022-07-04 14:00"),
            span("2022-07-05 13:30", "2022-07-05 20:00"),
        ]
    )
    sessions = place(time_s)
    assert sessions.session_id.tolist() == [0] * 78 + [1] * 6 + [1] * 78
    assert np.flatnonzero(sessions.is_first).tolist() == [0, 84]
    assert np.flatnonzero(sessions.is_last).tolist() == [77, 161]
    assert not sessions.is_open[78:84].any() and not sessions.tradable[77:84].any()
    # 09:35 in New York is 575 minutes into the local day of 1440.
    assert sessions.elapsed[78] == pytest.approx(575 / 1440)


def test_bars_before_and_after_a_session_neither_begin_nor_end_it() -> None:
    sessions = place(
        np.concatenate(
            [
                span("2022-01-03 13:00", "2022-01-04 01:00"),
                span("2022-01-04 14:00", "2022-01-04 21:00"),
            ]
        )
    )
    assert sessions.session_id.tolist() == [0] * 96 + [1] * (48 + 84)
    assert sessions.elapsed[0] == 0.0 and sessions.elapsed[143] == 1.0
    assert np.flatnonzero(sessions.is_first).tolist() == [18, 150]  # 14:30 UTC
    assert np.flatnonzero(sessions.is_last).tolist() == [95, 227]
    assert np.flatnonzero(sessions.is_open).tolist() == [*range(18, 96), *range(150, 228)]
    # a bar that ends with the open, or with the close, is too early or too late
    assert np.flatnonzero(sessions.tradable).tolist() == [*range(18, 95), *range(150, 227)]


def test_nothing_is_tradable_after_the_close_of_a_half_day() -> None:
    time_s = span("2024-11-29 13:00", "2024-11-29 22:00")
    sessions = place(time_s)
    tradable = time_s[sessions.tradable]
    assert (tradable[0], tradable[-1]) == tuple(seconds("2024-11-29 14:30", "2024-11-29 17:50"))
    assert time_s[sessions.is_last].tolist() == seconds("2024-11-29 17:55").tolist()


def test_a_midday_break_is_closed() -> None:
    hong_kong = dataclasses.replace(
        load_instrument("TQQQ"), calendar="XHKG", timezone="Asia/Hong_Kong"
    )
    # 9:30-12:00 and 13:00-16:00 local time; the feed has bars in the break
    time_s = span("2024-03-07 01:30", "2024-03-07 08:00")
    sessions = sessions_of(times_bars(time_s), hong_kong)
    closed = (time_s >= seconds("2024-03-07 04:00")) & (time_s < seconds("2024-03-07 05:00"))
    np.testing.assert_array_equal(sessions.is_open, ~closed)
    assert sessions.is_first.sum() == sessions.is_last.sum() == 1
    assert sessions.session_id.max() == 0
    shut = (time_s >= seconds("2024-03-07 03:55")) & (time_s < seconds("2024-03-07 05:00"))
    np.testing.assert_array_equal(sessions.tradable[:-1], ~shut[:-1])
    first, tradable, missing = follow_sessions(None, time_s, hong_kong)
    np.testing.assert_array_equal(first, sessions.is_first)
    np.testing.assert_array_equal(tradable, sessions.tradable)
    assert not missing.any()
    _, _, missing = follow_sessions(None, time_s[~closed], hong_kong)
    assert not missing.any()


def test_a_cut_session_ends_with_its_last_bar() -> None:
    first_day = span("2022-01-03 14:30", "2022-01-03 16:00")
    sessions = place(np.concatenate([first_day, span("2022-01-04 15:00", "2022-01-04 21:00")]))
    assert np.flatnonzero(sessions.is_last).tolist() == [17, 89]
    assert sessions.elapsed[17] == pytest.approx(18 / 78)
    assert sessions.elapsed[18] == pytest.approx(7 / 78)


def test_cme_session_starts_the_evening_before_and_ends_at_four() -> None:
    # Sunday 17:00 to Monday 16:00 Chicago time, then Monday 17:00.
    time_s = np.concatenate(
        [span("2022-01-09 23:00", "2022-01-10 22:00"), span("2022-01-10 23:00", "2022-01-11 02:00")]
    )
    sessions = place(time_s, "ES")
    assert sessions.session_id.tolist() == [0] * 276 + [1] * 36
    assert sessions.elapsed[275] == 1.0 and sessions.is_last[275]


def test_expected_slots_skip_nights_and_midday_breaks() -> None:
    def expected(calendar: str, start: str, end: str) -> int:
        first, last = seconds(start, end)
        schedule = trading_schedule(calendar, int(first), int(last))
        slots = scheduled_slots(schedule, np.array([first, last]), 300)
        return int(slots[1] - slots[0])

    assert expected("XNYS", "2022-01-03 20:00", "2022-01-04 15:30") == 12 + 12
    # Hong Kong trades 9:30-12:00 and 13:00-16:00 local time (UTC+8): 30 + 36 bars.
    assert expected("XHKG", "2022-01-04 00:00", "2022-01-05 00:00") == 66


@pytest.mark.parametrize(
    ("name", "after", "expected"),
    [
        ("TQQQ", "2024-03-08 15:00", "2024-03-08 15:05"),
        ("TQQQ", "2024-03-08 20:55", "2024-03-11 13:30"),  # over the weekend, clocks changed
        ("TQQQ", "2024-03-08 20:50", "2024-03-08 20:55"),
        ("TQQQ", "2024-12-24 17:55", "2024-12-26 14:30"),  # half day and holiday
        ("BTCUSDT", "2024-12-31 23:55", "2025-01-01 00:00"),
        ("ES", "2024-03-07 21:55", "2024-03-07 23:00"),  # the maintenance hour
    ],
)
def test_the_next_scheduled_bar(name: str, after: str, expected: str) -> None:
    last, following = seconds(after, expected)
    assert next_bar_s(int(last), load_instrument(name), 300) == following


def test_the_next_bar_after_a_midday_break_and_after_the_calendars_end() -> None:
    hong_kong = dataclasses.replace(
        load_instrument("TQQQ"), calendar="XHKG", timezone="Asia/Hong_Kong"
    )
    last, following = seconds("2024-03-07 03:55", "2024-03-07 05:00")
    assert next_bar_s(int(last), hong_kong, 300) == following
    assert next_bar_s(4_000_000_000, hong_kong, 300) is None


@pytest.mark.parametrize(
    ("calendar", "first"), [("XNYS", "2024-11-27"), ("XHKG", "2024-03-06"), ("FX", "2024-03-07")]
)
def test_a_clock_says_what_the_rule_says(calendar: str, first: str) -> None:
    market = dataclasses.replace(load_instrument("TQQQ"), calendar=calendar)
    moments = seconds(first) + np.arange(5 * 86_400)
    schedule = trading_schedule(calendar, int(moments[0]), int(moments[-1]))
    rule = market_is_open(schedule, moments)
    clock = MarketClock(market)
    changes = np.flatnonzero(np.diff(rule)) + 1
    assert len(changes) >= 4
    near = np.unique(np.concatenate([changes - 1, changes, changes + 1]))
    asked = np.concatenate([near, np.arange(0, len(moments), 997), near[::-1]])
    assert [clock.is_open(float(moments[i]) + 0.5) for i in asked] == rule[asked].tolist()
    assert not clock.is_open(7_400_000_000.0)  # beyond the calendar


def test_longer_bars_off_the_open_still_belong_to_the_session() -> None:
    bars = times_bars(span("2022-01-03 14:00", "2022-01-03 21:00", 3600))
    sessions = sessions_of(bars, load_instrument("TQQQ"), 3600)
    assert set(sessions.session_id) == {0}
    assert sessions.elapsed[0] == pytest.approx(0.5 / 6.5)
    assert np.flatnonzero(sessions.is_last).tolist() == [6]


def test_one_bar_and_none() -> None:
    one = place(seconds("2022-01-08 12:00"))  # a Saturday
    assert one.is_first.tolist() == one.is_last.tolist() == one.tradable.tolist() == [False]
    one = place(seconds("2022-01-07 15:00"))
    assert one.is_first.tolist() == one.is_last.tolist() == one.tradable.tolist() == [True]
    assert len(place(np.zeros(0, dtype=np.int64)).session_id) == 0


def test_refusals() -> None:
    with pytest.raises(DataError, match="increase"):
        sessions_of(walk_bars()[::-1], load_instrument("BTCUSDT"))
    with pytest.raises(ConfigError, match=r"instrument\.calendar"):
        sessions_of(walk_bars(), Instrument(symbol="X", tick_size=1.0, calendar="NOPE"))
    market = Instrument(symbol="X", tick_size=1.0, calendar="XNYS", timezone="Mars/Base")
    with pytest.raises(ConfigError, match=r"instrument\.timezone"):
        sessions_of(walk_bars(), market)
    for year in (1600, 2300):
        time_s = np.array([(year - 1970) * 31_557_600 // 300 * 300])
        for name in ("TQQQ", "BTCUSDT"):
            with pytest.raises(DataError, match="1900 to 2199"):
                place(time_s, name)
    korea = Instrument(symbol="X", tick_size=1.0, calendar="XKRX")
    with pytest.raises(DataError, match="XKRX does not cover"):
        sessions_of(times_bars(seconds("2150-01-04 02:00")), korea)


@pytest.mark.slow
def test_a_million_bars_take_seconds() -> None:
    time_s = START_S - 300 * 900_000 + 300 * np.arange(1_000_000)
    bars = times_bars(time_s)
    begin = time.perf_counter()
    sessions = sessions_of(bars, load_instrument("TQQQ"))
    assert time.perf_counter() - begin < 20
    assert bool(np.all(np.diff(sessions.session_id) >= 0))


@pytest.mark.realdata
def test_real_etf_has_the_known_number_of_sessions(real_data: Path) -> None:
    path = real_data / "TQQQ_5m_RTH_2022-01_2026-02.csv.gz"
    if not path.exists():
        pytest.skip("the TQQQ file is absent")
    sessions = sessions_of(load_bars(path).bars, load_instrument("TQQQ"))
    assert sessions.session_id[-1] + 1 == 1032
    assert sessions.is_first.sum() == 1032


def test_sessions_stay_contiguous_when_the_time_zone_is_ahead_of_the_exchange() -> None:
    # After 21:00 UTC it is the next day on Kiritimati, long before New York's session of that day.
    time_s = np.concatenate(
        [
            span("2022-01-03 14:30", "2022-01-03 21:30"),
            span("2022-01-04 14:30", "2022-01-04 15:00"),
            span("2022-01-05 14:30", "2022-01-05 15:00"),
        ]
    )
    market = Instrument(symbol="X", tick_size=1.0, calendar="XNYS", timezone="Pacific/Kiritimati")
    sessions = sessions_of(times_bars(time_s), market)
    assert np.all(np.isin(np.diff(sessions.session_id), [0, 1]))
    assert sessions.is_first.sum() == sessions.session_id[-1] + 1


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [("24/7", "UTC"), ("XNYS", "America/New_York"), ("CMES", "America/Chicago"), ("FX", "UTC")],
)
def test_bars_one_by_one_are_placed_as_in_a_file(calendar: str, zone: str) -> None:
    instrument = Instrument(symbol="X", tick_size=0.01, calendar=calendar, timezone=zone)
    grid = 1_767_571_200 + 300 * np.arange(12 * 288, dtype=np.int64)
    schedule = trading_schedule(calendar, int(grid[0]), int(grid[-1]))
    index = np.searchsorted(schedule.open_s, grid, side="right") - 1
    time_s = grid[grid < schedule.close_s[np.maximum(index, 0)]][:-1]
    whole = sessions_of(times_bars(time_s), instrument)
    previous = None
    for t in range(0, len(time_s), 7):
        first, tradable, missing = follow_sessions(previous, time_s[t : t + 7], instrument)
        part = slice(t, t + 7)
        np.testing.assert_array_equal(first, whole.is_first[part])
        np.testing.assert_array_equal(tradable, whole.tradable[part])
        assert not missing.any()
        previous = int(time_s[part][-1])
    kept = np.delete(time_s, slice(20, 24))
    _, _, missing = follow_sessions(None, kept, instrument)
    assert missing[20] == 4
    assert missing.sum() == 4
    since_gap = sessions_of(times_bars(kept), instrument).since_gap
    assert since_gap[:20].tolist() == [60] * 20
    assert since_gap[20:90].tolist() == [*range(60), *[60] * 10]


def test_spot_fx_week() -> None:
    # Sunday 17:00 to Friday 17:00 New York time in winter.
    sessions = place(span("2022-01-09 22:00", "2022-01-14 22:00"), "EURUSD")
    assert sessions.session_id[-1] == 4
    assert np.bincount(sessions.session_id).tolist() == [288] * 5
    assert sessions.elapsed[287] == 1.0

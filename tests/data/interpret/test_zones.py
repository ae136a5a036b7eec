from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.errors import UsageError


def local_times(start: str, stop: str, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 5-minute UTC times and what a clock in the zone shows, both in microseconds."""
    utc = pd.date_range(start, stop, freq="5min", tz="UTC")
    local = utc.tz_convert(zone).tz_localize(None)
    first, second = (
        each.to_numpy().astype("datetime64[us]").astype(np.int64)
        for each in (utc.tz_localize(None), local)
    )
    return first, second


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Asia/Tokyo", "UTC"])
def test_a_year_around_the_clock_is_known(zone: str) -> None:
    utc, local = local_times("2024-01-01", "2025-01-01", zone)
    found, unknown = Zone.parse(zone).to_utc(local)
    assert not unknown.any()
    np.testing.assert_array_equal(found, utc)


def test_an_hour_that_comes_twice_but_is_there_once_is_unknown() -> None:
    _, local = local_times("2024-11-03 03:00", "2024-11-03 09:00", "America/New_York")
    once = np.delete(local, slice(36, 48))
    _, unknown = Zone.parse("America/New_York").to_utc(once)
    assert unknown.sum() == 12


def test_a_skipped_hour_is_unknown() -> None:
    skipped = np.array(["2024-03-10T02:30"], "datetime64[us]").astype(np.int64)
    found, unknown = Zone.parse("America/New_York").to_utc(skipped)
    assert (found.tolist(), unknown.tolist()) == ([0], [True])


@pytest.mark.parametrize(
    ("zone", "utc"),
    [
        ("UTC+2", "2024-07-10T10:30"),
        ("+02:00", "2024-07-10T10:30"),
        ("-0530", "2024-07-10T18:00"),
        ("EST", "2024-07-10T17:30"),
        ("Etc/GMT+5", "2024-07-10T17:30"),
        ("America/New_York+7", "2024-07-10T09:30"),
    ],
)
def test_offsets_and_shifted_clocks(zone: str, utc: str) -> None:
    noon = np.array(["2024-07-10T12:30"], "datetime64[us]").astype(np.int64)
    found, _ = Zone.parse(zone).to_utc(noon)
    assert found.tolist() == [int(np.datetime64(utc, "us").astype(np.int64))]


@pytest.mark.parametrize("text", ["Mars/Olympus", "", "+99x", "New York"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tz: found"):
        Zone.parse(text)


def test_times_that_no_clock_shows_are_left_as_they_are() -> None:
    noon = np.array(["2024-07-10T12:30"], "datetime64[us]").astype(np.int64)
    absurd = np.array([2**60, -(2**60)], dtype=np.int64)
    found, unknown = Zone.parse("America/New_York").to_utc(np.concatenate((absurd, noon)))
    assert not unknown.any()
    np.testing.assert_array_equal(found, [*absurd, int(noon[0]) + 4 * 3_600_000_000])

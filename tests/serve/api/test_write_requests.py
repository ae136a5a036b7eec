"""The bodies of writes, and the times in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec import UNSET

from serve.api.errors import RequestError
from serve.api.write_requests import (
    MAX_BARS,
    BarsRequest,
    FillsRequest,
    Moment,
    epoch_seconds,
    read_body,
)

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
NOON_S = 1_709_294_400
BAR = {"timestamp": NOON_S, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 0.0}


def read(body: Any, kind: type[Any]) -> Any:
    return read_body(json.dumps(body).encode(), kind)


@pytest.mark.parametrize(
    "moment",
    [
        NOON_S,
        NOON_S * 1_000,  # milliseconds, as exchanges send them
        NOON,
        NOON.replace(tzinfo=None),  # UTC where there is no offset
        datetime(2024, 3, 1, 7, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_one_moment_may_be_written_in_many_ways(moment: Moment) -> None:
    assert epoch_seconds(moment, "timestamp") == NOON_S


def test_seconds_and_milliseconds_meet_where_no_market_was_open() -> None:
    assert epoch_seconds(99_999_999_999, "t") == 99_999_999_999.0
    assert epoch_seconds(100_000_000_000, "t") == 100_000_000.0  # March 1973


@pytest.mark.parametrize("moment", [datetime(1969, 12, 31, tzinfo=UTC), datetime(2200, 1, 1)])
def test_times_outside_of_all_calendars_are_refused(moment: datetime) -> None:
    with pytest.raises(RequestError, match="must lie in the years 1970 to 2199") as caught:
        epoch_seconds(moment, "bars[0].timestamp")
    assert (caught.value.status, caught.value.field) == (422, "bars[0].timestamp")


def test_bars_are_read_with_times_in_either_form() -> None:
    later = {**BAR, "timestamp": "2024-03-01T12:05:00Z"}
    found = read({"symbol": "TEST", "bars": [BAR, later]}, BarsRequest)
    assert [epoch_seconds(bar.timestamp, "") for bar in found.bars] == [NOON_S, NOON_S + 300]


def test_a_commission_that_is_left_out_is_not_one_of_zero() -> None:
    fill = {"fill_id": "a", "side": "SELL", "quantity": 2, "price": 9.5, "timestamp": NOON_S}
    body = {"symbol": "TEST", "fills": [fill, {**fill, "commission": 0.0}]}
    first, second = read(body, FillsRequest).fills
    assert first.commission is UNSET
    assert second.commission == 0.0


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"symbol": "TEST", "bars": [BAR] * (MAX_BARS + 1)}, 422, "bars"),
        ({"symbol": "TEST", "bars": [{**BAR, "volume": None}]}, 422, "bars[0].volume"),
        ({"symbol": "TEST"}, 422, "bars"),
        ({"symbol": "TEST", "bars": [BAR], "remark": ""}, 422, "remark"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_its_field(
    body: dict[str, Any], status: int, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read(body, BarsRequest)
    assert (caught.value.status, caught.value.field) == (status, field)


def test_a_key_given_twice_is_refused() -> None:
    text = json.dumps({"symbol": "TEST", "bars": [BAR]}).replace('"open"', '"close": 9, "open"')
    with pytest.raises(RequestError, match="close: the key is given more than once") as caught:
        read_body(text.encode(), BarsRequest)
    assert (caught.value.status, caught.value.code) == (400, "duplicate_key")

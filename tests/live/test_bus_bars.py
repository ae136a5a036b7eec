"""Bars from the bus: each once and in order, whatever is published and whatever breaks."""

from __future__ import annotations

import itertools
import logging
import threading
from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError
from rllib_tactical.live.bus_bars import HEADER, BusBars
from serve.api.streams import BARS
from serve.api.write_requests import BarInput
from serve.client.bus import BusPublisher
from tests.market import INSTRUMENT
from tests.serve.state.stores import valkey_server

START = 1_700_000_100


def bar(number: int, close: float = 100.1) -> BarInput:
    return BarInput(START + 300 * number, 100.0, 101.0, 99.0, close, 5.0)


def line(number: int) -> bytes:
    minute = 15 + 5 * number
    time = f"2023-11-14T{22 + minute // 60}:{minute % 60:02}:00Z"
    return f"{time},100.0,101.0,99.0,100.1,5.0\n".encode()


def first(bars: BusBars, count: int) -> list[bytes]:
    return list(itertools.islice(bars, count + 1))


@pytest.mark.slow
def test_each_bar_is_one_line_and_what_is_wrong_or_late_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "bars.csv"
    with valkey_server(tmp_path / "server") as (url, server), BusPublisher(url) as bus:
        bus.bars("TEST", [bar(0), bar(1)])
        bus.bars("OTHER", [bar(2)])
        bus.bars("TEST", [bar(1), bar(2)])  # a repeat
        bus.publish_fields(BARS, {"data": b"{"})
        bus.bars("TEST", [bar(1, 100.2)])  # other values
        bus.bars("TEST", [BarInput(START + 899, 100.0, 101.0, 99.0, 100.0, 5.0)])  # off the grid
        bus.bars("TEST", [bar(4)])
        bus.bars("TEST", [bar(3)])  # one place late
        bus.bars("TEST", [bar(5)])
        expected = [line(number) for number in (0, 1, 2, 4, 5)]
        bars = BusBars(url, INSTRUMENT, 300, kept)
        with caplog.at_level(logging.WARNING):
            assert first(bars, 5) == [HEADER, *expected]
        told = " ".join(record.getMessage() for record in caplog.records)
        assert told.count("are left out") == 3
        assert told.count("1 bars of entry") == 1

        # an interrupted session has three of them, and half of a fourth
        kept.write_bytes(b"".join([HEADER, *expected[:3], expected[3][:30]]))
        assert first(BusBars(url, INSTRUMENT, 300, kept), 2) == [HEADER, *expected[3:]]

        # the server is killed while the session waits, and comes back
        def later(seconds: float) -> None:
            if again.ident is None:
                again.start()
            again.join(0.05)

        def back() -> None:
            server.start()
            bus.bars("TEST", [bar(6)])

        again = threading.Thread(target=back)
        waiting = iter(BusBars(url, INSTRUMENT, 300, kept, wait=later))
        assert list(itertools.islice(waiting, 3)) == [HEADER, *expected[3:]]
        server.terminate()
        assert next(waiting) == line(6)
        again.join()


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="unix:///nowhere"):
        BusBars("unix:///nowhere", INSTRUMENT, 300, tmp_path / "bars.csv")

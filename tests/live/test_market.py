"""Bars that come as they close: a paced history, a file that grows, standard input."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.growing import as_of_its_last_bar
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import Bars
from rllib_tactical.live.broker import PaperBroker, PaperOrder
from rllib_tactical.live.market import FollowedFile, Spool, WholeMarket, lines_of
from tests.contract import parity

HALF_DAY = parity.half_day()


def known(count: int) -> MarketHistory:
    """Return the history of the first bars, as a file of them is read."""
    names = ("timestamp_s", "open", "high", "low", "close", "volume")
    bars = Bars(*(getattr(HALF_DAY.bars, name)[:count] for name in names))
    return build_history(bars, sessions_of(bars, HALF_DAY.instrument), HALF_DAY.instrument)


def test_a_paced_market_waits_for_each_bar_and_makes_up_for_what_took_long() -> None:
    now, waited = [0.0], []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    market = WholeMarket(known(400), 365, pace_s=2.0, wait=wait, monotonic=lambda: now[0])
    assert market.has(361)
    now[0] += 1.5
    assert market.has(362)
    now[0] += 3.0
    assert market.has(363)
    assert market.has(364)
    assert not market.has(365)
    assert waited == [2.0, 0.5, 0.0, 1.0, 2.0]
    assert (market.ends_at(363), market.ends_at(364)) == (False, True)


class Growing:
    """A file of bars: a line for each of the first ``count``."""

    def __init__(self, path: Path) -> None:
        self.path, self.ended, self.loads = path, False, 0
        self.steps: list[Callable[[], None]] = []

    def write(self, count: int, half: str = "") -> None:
        self.path.write_text("bar\n" * count + half)

    def load(self) -> MarketHistory:
        self.loads += 1
        return known(self.path.read_text().count("\n"))

    def wait(self, seconds: float) -> None:
        self.steps.pop(0)()


def test_a_followed_file_is_read_again_when_a_whole_line_is_new(tmp_path: Path) -> None:
    file = Growing(tmp_path / "bars.csv")
    file.write(380)
    market = FollowedFile(file.path, file.load, 300, lambda: file.ended, file.wait)
    assert market.has(379)
    assert (market.ends_at(379), file.loads) == (False, 1)
    file.steps = [lambda: None, lambda: file.write(380, "20"), lambda: file.write(382)]
    assert market.has(380)
    assert (len(market.history), file.loads, file.steps) == (382, 2, [])
    file.ended = True
    assert market.ends_at(381)
    assert not market.has(382)


def test_the_end_of_a_followed_file_is_asked_for_by_an_interrupt(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    file = Growing(tmp_path / "bars.csv")
    file.write(380)
    market = FollowedFile(file.path, file.load, 300, lambda: False, file.wait)
    file.steps = [interrupt]
    assert not market.has(380)
    assert market.ends_at(379)


@pytest.mark.slow
def test_a_stream_is_kept_line_by_line_and_lines_that_are_known_are_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bars.csv"
    first = Spool(path, io.BytesIO(b"timestamp,open\r\n1,2.0\n\n3,4.0"))
    assert first.ended.wait(10.0)
    assert path.read_bytes() == b"timestamp,open\n1,2.0\n3,4.0\n"
    path.write_bytes(path.read_bytes() + b"5,6")  # of a killed process
    again = Spool(path, io.BytesIO(b"timestamp,open\n3,4.0\n5,6.0\n"))
    again.wait_for(99)
    assert again.ended.is_set()
    assert path.read_bytes() == b"timestamp,open\n1,2.0\n3,4.0\n5,6.0\n"


def test_lines_are_given_as_they_come_whole() -> None:
    read, write = os.pipe()
    lines = lines_of(read)
    os.write(write, b"1,2\n3")
    assert next(lines) == b"1,2\n"
    os.write(write, b",4\n\n5")
    os.close(write)
    assert list(lines) == [b"3,4\n", b"\n", b"5"]
    os.close(read)


@pytest.mark.slow
def test_a_stream_is_waited_for_until_it_has_enough_lines(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def __iter__(self) -> Endless:
            return self

        def __next__(self) -> bytes:
            if self.count == 3:
                threading.Event().wait()  # a daemon thread: it ends with the process
            self.count += 1
            return b"%d\n" % self.count

        count = 0

    path = tmp_path / "bars.csv"
    endless: Any = Endless()
    spool = Spool(path, endless)
    spool.wait_for(3)
    assert path.read_bytes() == b"1\n2\n3\n"
    assert not spool.ended.is_set()


@pytest.mark.parametrize("missing", [1, 5])
def test_the_broker_closes_at_the_last_bar_that_came_once_the_next_session_shows_it(
    missing: int,
) -> None:
    whole = sessions_of(HALF_DAY.bars, HALF_DAY.instrument)
    last = int(whole.is_last.nonzero()[0][whole.is_last.nonzero()[0] > 400][0])
    names = ("timestamp_s", "open", "high", "low", "close", "volume")
    keep = [t for t in range(last + 3) if not last - missing < t <= last]
    bars = Bars(*(getattr(HALF_DAY.bars, name)[keep] for name in names))

    def history(count: int) -> MarketHistory:
        part = Bars(*(getattr(bars, name)[:count] for name in names))
        built = build_history(part, sessions_of(part, HALF_DAY.instrument), HALF_DAY.instrument)
        return as_of_its_last_bar(built, 300)

    end = last - missing  # the last bar that comes of the session
    order = PaperOrder(side=1, quantity=1.0, stop=1e-6, target=1e6)
    expected = PaperBroker(history(len(keep)), 100_000.0, end - 2)
    hindsight = expected.trade(order) + expected.trade(None) + expected.trade(None)
    broker = PaperBroker(history(end), 100_000.0, end - 2)
    fills = broker.trade(order)
    for count in (end + 1, end + 2):
        fills += broker.extend(history(count))
        if broker.t < count - 1:
            fills += broker.trade(None)
    assert fills == hindsight
    assert (fills[-1].bar, fills[-1].exit_reason) == (end, ExitReason.SESSION_END)
    assert broker.equity == expected.equity
    assert fills[0].bar == end - 1

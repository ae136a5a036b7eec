"""Closed bars of one symbol from the bus, as the lines of a file that a session follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.streams import BARS
from serve.api.write_requests import BarsRequest
from serve.client.bus import BEGIN, BusReader
from serve.state.bar_streams import BarRow
from serve.state.bars import BarBuffer

_LOG = logging.getLogger(__name__)
HEADER = b"timestamp,open,high,low,close,volume\n"
PAUSE_S = 1.0


class BusBars:
    """The bars on a bus, each once, oldest first, without end.

    They are checked as the service checks them. What it would refuse is left out with a warning,
    as is a bar that comes late or again with other values: the session has gone on by then. While
    the server is gone the bars wait.

    Args:
        url: ``redis://HOST:PORT/DB#NAME``.
        instrument: whose bars; those of other symbols are passed over.
        bar_seconds: length of a bar.
        kept: file with the lines so far, of a session that was interrupted; may be missing.
        clock: epoch time in seconds.

    Raises:
        ServiceError: the server cannot be reached now.
    """

    def __init__(
        self,
        url: str,
        instrument: Instrument,
        bar_seconds: int,
        kept: Path,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader = BusReader(url, keep_errors=True)
        self._reader.read(BARS, count=1)
        self._symbol, self._clock, self._wait = instrument.symbol, clock, wait
        self._buffer = BarBuffer(instrument, bar_seconds)
        self._after_s = _last_time_s(kept)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the header, then a line for each bar as it comes."""
        yield HEADER
        after, reachable = BEGIN, True
        while True:
            try:
                for entry in self._reader.follow(BARS, after):
                    after, reachable = entry.entry_id, True
                    yield from self._lines(entry.entry_id, entry.message)
            except ServiceError as error:
                if reachable:
                    _LOG.warning("the bars wait: %s", error)
                reachable = False
                self._wait(PAUSE_S)

    def _lines(self, entry_id: str, message: BarsRequest | RequestError) -> Iterator[bytes]:
        try:
            if isinstance(message, RequestError):
                raise message
            if message.symbol != self._symbol:
                return
            plan = self._buffer.check(message.bars, self._clock(), message.revise)
        except RequestError as error:
            _LOG.warning("bars of entry %s are left out: %s", entry_id, error)
            return
        if plan.late or plan.revised:
            count = len(plan.late) + len(plan.revised)
            _LOG.warning("%d bars of entry %s come too late for the session", count, entry_id)
        if plan.new:
            self._buffer.push(plan.new, self._clock())
        for row in plan.new:
            if row.time_s > self._after_s:
                yield _line(row)


def _line(row: BarRow) -> bytes:
    moment = datetime.fromtimestamp(row.time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ",".join((moment, *map(repr, map(float, row[1:])))).encode() + b"\n"


def _last_time_s(path: Path) -> float:
    """Return the time of a file's last whole line, before all bars when there is none."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for line in reversed(lines):
        if line.endswith(b"\n") and line != HEADER:
            return datetime.fromisoformat(line.partition(b",")[0].decode()).timestamp()
    return float("-inf")

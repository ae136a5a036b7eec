"""What a paper session trades on: a whole file, one at a given pace, or a file that grows."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from rllib_tactical.data.growing import as_of_its_last_bar
from rllib_tactical.domain.simulation.history import MarketHistory

POLL_S: Final = 0.5
"""How often a followed file is looked at."""


class Market(Protocol):
    """Bars as far as they are known."""

    @property
    def history(self) -> MarketHistory:
        """The bars so far, with everything that is known of them."""

    def ends_at(self, t: int) -> bool:
        """Return whether it is known that no bar follows bar ``t``."""

    def has(self, t: int) -> bool:
        """Return whether there is a bar ``t``; wait for it while it may come."""


class WholeMarket:
    """All bars at once.

    Args:
        history: the market.
        stop: one past the last bar; all bars when None.
        pace_s: seconds from bar to bar; 0 for as fast as possible.
    """

    def __init__(
        self,
        history: MarketHistory,
        stop: int | None = None,
        pace_s: float = 0.0,
        wait: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history, self._stop = history, len(history) if stop is None else stop
        self._pace_s, self._wait, self._monotonic = pace_s, wait, monotonic
        self._due_s: float | None = None

    @property
    def history(self) -> MarketHistory:
        """The whole market."""
        return self._history

    def ends_at(self, t: int) -> bool:
        """Return whether bar ``t`` is the last one."""
        return t + 1 >= self._stop

    def has(self, t: int) -> bool:
        """Return whether there is a bar ``t``, once it is its time."""
        if self._pace_s:
            now_s = self._monotonic()
            self._due_s = (now_s if self._due_s is None else self._due_s) + self._pace_s
            self._wait(max(0.0, self._due_s - now_s))
        return t < self._stop


class FollowedFile:
    """A file of bars that grows by a line for each bar that closes.

    Args:
        path: the file; bars in it are closed.
        load: reads it.
        bar_seconds: length of a bar.
        ended: tells whether nothing more will be written to it.

    Raises:
        TacticalError: the file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[], MarketHistory],
        bar_seconds: int,
        ended: Callable[[], bool] = lambda: False,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        self._path, self._load, self._bar_seconds = path, load, bar_seconds
        self._is_complete, self._wait = ended, wait or time.sleep
        self._stopped = False
        self._seen = self._stamp()
        self._history = as_of_its_last_bar(load(), bar_seconds)

    @property
    def history(self) -> MarketHistory:
        """The bars so far."""
        return self._history

    def ends_at(self, t: int) -> bool:
        """Return whether the file is complete and bar ``t`` its last one."""
        return self._ended() and not self._look() and t + 1 >= len(self._history)

    def has(self, t: int) -> bool:
        """Return whether there is a bar ``t``; wait for it while the file may grow."""
        while t >= len(self._history):
            ended = self._ended()
            if not self._look():
                if ended:
                    return False
                try:
                    self._wait(POLL_S)
                except KeyboardInterrupt:  # the session ends here, and reports
                    self._stopped = True
        return True

    def _ended(self) -> bool:
        return self._stopped or self._is_complete()

    def _look(self) -> bool:
        """Read what is new; return whether anything is."""
        stamp = self._stamp()
        if stamp == self._seen or not (self._ended() or _ends_with_a_line(self._path)):
            return False
        before, self._seen = len(self._history), stamp
        self._history = as_of_its_last_bar(self._load(), self._bar_seconds)
        return len(self._history) > before

    def _stamp(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_size, found.st_mtime_ns


class Spool:
    """Writes a stream of lines to a file, as they come, and knows when the stream has ended.

    Lines that the file has already, such as the header or bars before an interruption, are left
    out.

    Args:
        path: the file; it may hold lines of an earlier stream.
        stream: standard input when None.
    """

    def __init__(self, path: Path, stream: Iterable[bytes] | None = None) -> None:
        self._path = path
        self._stream = lines_of(sys.stdin.fileno()) if stream is None else stream
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="spool", daemon=True)
        self._thread.start()

    def wait_for(self, lines: int, wait: Callable[[float], None] = time.sleep) -> None:
        """Return once the file has so many lines, or the stream has ended."""
        while not self.ended.is_set():
            if self._path.exists() and self._path.read_bytes().count(b"\n") >= lines:
                return
            wait(POLL_S)

    def _copy(self) -> None:
        try:
            _cut_half_a_line(self._path)
            known = set(self._path.read_bytes().splitlines()) if self._path.exists() else set()
            with self._path.open("ab") as file:
                for line in self._stream:
                    text = line.rstrip(b"\r\n")
                    if text and text not in known:
                        file.write(text + b"\n")
                        file.flush()
        finally:
            self.ended.set()


def lines_of(descriptor: int) -> Iterator[bytes]:
    """Yield the lines of a file as they come.

    Without a buffer of Python's: a thread that waits in one aborts the process at its end.
    """
    rest = b""
    while data := os.read(descriptor, 65_536):
        *whole, rest = (rest + data).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _cut_half_a_line(path: Path) -> None:
    """Remove what a killed writer has left after the last whole line."""
    if path.exists() and path.stat().st_size and not _ends_with_a_line(path):
        whole = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole[0] + whole[1])

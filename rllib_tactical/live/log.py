"""The log of a session: every answer of the service, from which an interrupted session goes on.

One JSON line for the session, then one for each decision, in order of time. An answer is in the log
before anything is done that follows from it: so whoever is killed knows what was ordered, and does
again only what may be done twice (bars are known by their time, fills by their id).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.errors import ServiceError, UnreadableError, UsageError
from serve.api.responses import DecideAnswer

LOG: Final = "session.jsonl"
FORMAT: Final = 1


class SessionHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a session trades: it goes on with nothing else.

    ``first_s``: open time of the bar of the first decision, UTC epoch seconds.
    """

    kind: str = "paper session"
    format: int = FORMAT
    bundle_id: str
    symbol: str
    bar_seconds: int
    initial_equity: float
    first_s: int


class Decided(msgspec.Struct, frozen=True):
    """The answer at the close of the bar that opened at ``time_s``; ``close`` is its price."""

    time_s: int
    close: float
    answer: DecideAnswer


_ENCODE: Final = msgspec.json.Encoder().encode
_HEAD: Final = msgspec.json.Decoder(SessionHead).decode
_DECIDED: Final = msgspec.json.Decoder(Decided).decode


class SessionLog:
    """The log of one session in a folder, open for one process.

    ``decided`` has what was in it when it was opened.

    Args:
        folder: made when missing.
        head: of the session.

    Raises:
        UsageError: the log there is of another session.
        UnreadableError: it cannot be read.
        ServiceError: another process has it open.
    """

    def __init__(self, folder: Path, head: SessionHead) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ServiceError(f"{self.path}: another session is writing to it") from error
        try:
            self.decided = self._read(head)
        except BaseException:
            self._file.close()
            raise

    def add(self, decided: Decided, durable: bool = False) -> None:
        """Append an answer.

        Args:
            decided: the answer.
            durable: return only once it outlasts a loss of power.
        """
        self._file.write(_ENCODE(decided) + b"\n")
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let other processes have it."""
        self._file.close()

    def _read(self, head: SessionHead) -> list[Decided]:
        self._file.seek(0)
        whole, newline, _ = self._file.read().rpartition(b"\n")
        self._file.truncate(len(whole) + len(newline))  # half a line of a killed process
        if not newline:
            self._file.write(_ENCODE(head) + b"\n")
            self._file.flush()
            return []
        first, *lines = whole.split(b"\n")
        try:
            found = _HEAD(first)
            decided = [_DECIDED(line) for line in lines]
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{self.path}: not the log of a session: {error}") from error
        for name in SessionHead.__struct_fields__:
            began, now = getattr(found, name), getattr(head, name)
            if began != now:
                raise UsageError(
                    f"--resume: the session began with {name} {began!r}, found {now!r}"
                )
        return decided

"""The journal of accepted writes: append-only, on disk before a write is answered.

One JSON object per line: ``{"crc": ..., "record": {...}}`` with the CRC-32 of the record's bytes.
A crash can leave half a last line. That write was never acknowledged, so the line is cut off when
the journal is opened. Any other line with a wrong checksum means that the file is damaged, and the
service refuses to start.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from rllib_tactical.errors import ServiceError

FILE_NAME: Final = "journal.jsonl"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    crc: int
    record: msgspec.Raw


_DECODE: Final = msgspec.json.Decoder(_Line).decode
_ENCODE: Final = msgspec.json.Encoder().encode


class Journal:
    """The only writer of ``folder``; a second one, of any process, is refused.

    Args:
        folder: made if needed.

    Raises:
        ServiceError: the folder cannot be made or is in use, or the journal is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            # the directory entry of a new journal must survive a power cut too
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ServiceError(f"state folder {folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise ServiceError(f"state folder {folder}: another service is using it") from error
        self._size = os.fstat(self._file).st_size
        self._broken = False

    def records(self) -> Iterator[bytes]:
        """Yield the records written so far as JSON, oldest first, and cut off half a last line.

        Raises:
            ServiceError: a line is damaged; the message names it.
        """
        with self.path.open("rb") as stream:
            good = 0
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    break
                yield self._checked(line, number)
                good += len(line)
        if good < self._size:
            os.ftruncate(self._file, good)
            os.fsync(self._file)
            self._size = good

    def append(self, record: Any) -> None:
        """Write a record and return once it is on disk; after a failure nothing of it is left.

        Raises:
            ServiceError: the disk refused it.
        """
        if self._broken:
            raise ServiceError(f"{self.path} could not be repaired after a failed write")
        raw = _ENCODE(record)
        line = _ENCODE({"crc": zlib.crc32(raw), "record": msgspec.Raw(raw)}) + b"\n"
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(0, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            self._undo()
            raise ServiceError(f"{self.path} cannot be written: {error.strerror}") from error
        self._size += len(line)

    def close(self) -> None:
        """Close the journal and free the folder for another service."""
        os.close(self._file)

    def _checked(self, line: bytes, number: int) -> bytes:
        try:
            parsed = _DECODE(line)
        except msgspec.DecodeError as error:
            raise ServiceError(f"{self.path} line {number} is damaged: {error}") from error
        raw = bytes(parsed.record)
        if zlib.crc32(raw) != parsed.crc:
            raise ServiceError(f"{self.path} line {number} is damaged: the checksum differs")
        return raw

    def _undo(self) -> None:
        """Remove what a failed write may have left; without that nothing more is written."""
        try:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        except OSError:
            self._broken = True

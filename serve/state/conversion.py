"""State folders of versions that kept a journal of JSON lines: read once, then kept as they are."""

from __future__ import annotations

import fcntl
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.errors import ServiceError
from serve.state.sqlite_store import FILE_NAME, HEAD_NAME, SqliteStore
from serve.state.store import STATE, Entry

JOURNAL: Final = "journal.jsonl"
KEPT: Final = "journal.jsonl.converted"
_STAGING: Final = "converting"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    crc: int
    record: msgspec.Raw


_DECODE: Final = msgspec.json.Decoder(_Line).decode


def convert_journal(folder: Path) -> None:
    """Make a store of the journal in ``folder`` if there is one, and rename the journal.

    Half a last line is a write that was never answered and is left out. A crash on the way leaves
    the journal in place, and the next call begins anew.

    Raises:
        ServiceError: the journal is damaged, or an older service is writing it.
        StoreError: the store cannot be written.
    """
    journal = folder / JOURNAL
    if not journal.exists():
        return
    handle = os.open(journal, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ServiceError(f"{folder}: another service is using it") from error
    try:
        if not (folder / FILE_NAME).exists():  # else only the renaming is left to do
            staging = folder / _STAGING
            shutil.rmtree(staging, ignore_errors=True)
            store = SqliteStore(staging)
            try:
                store.append(0, [Entry(STATE, raw) for raw in _records(journal)])
            finally:
                store.close()  # the last connection leaves one file behind
            (staging / HEAD_NAME).rename(folder / HEAD_NAME)
            (staging / FILE_NAME).rename(folder / FILE_NAME)
            shutil.rmtree(staging, ignore_errors=True)
        journal.rename(folder / KEPT)
    finally:
        os.close(handle)


def _records(journal: Path) -> Iterator[bytes]:
    """Yield the records as JSON.

    Raises:
        ServiceError: a line is damaged; the message names it.
    """
    with journal.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                parsed = _DECODE(line)
            except msgspec.DecodeError as error:
                raise ServiceError(f"{journal} line {number} is damaged: {error}") from error
            raw = bytes(parsed.record)
            if zlib.crc32(raw) != parsed.crc:
                raise ServiceError(f"{journal} line {number} is damaged: the checksum differs")
            yield raw

"""What keeps the state: an append-only list of records, its head, snapshots and an archive.

Every record has a sequence number and a SHA-256 that covers the hash of the record before it. The
head (sequence and hash of the last record) is kept apart from the records. So a record that was
removed, repeated, swapped or cut off is found when the store is opened; see ``history``.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from rllib_tactical.errors import ServiceError

STATE: Final = "state"
"""Kind of the records that the state machine applies; others, such as ``decision``, it counts."""

GENESIS: Final = "0" * 64
"""What the first record's hash covers in place of a hash before it."""


class StoreError(ServiceError):
    """The store cannot be read or written now."""


class ConflictError(ServiceError):
    """Another writer has appended first: read what is new and check the write again."""


class DamagedError(ServiceError):
    """The store does not hold what was written to it."""


class Entry(NamedTuple):
    """What ``append`` makes a record of.

    ``data``: one JSON value. ``key``: an entry whose key a record in the store has is left out.
    """

    kind: str
    data: bytes
    key: str | None = None


class StoredRecord(msgspec.Struct, frozen=True):
    """One record; ``hash`` is the hexadecimal SHA-256 of ``record_hash``."""

    sequence: int
    kind: str
    key: str | None
    hash: str
    data: msgspec.Raw


class Head(msgspec.Struct, frozen=True):
    """Where the list ends, and through which record it is archived; 0 for no record."""

    sequence: int = 0
    hash: str = GENESIS
    archived: int = 0
    archived_hash: str = GENESIS


class StoredSnapshot(msgspec.Struct, frozen=True):
    """The state after record ``sequence`` with hash ``hash``; ``digest`` is the data's SHA-256."""

    sequence: int
    hash: str
    digest: str
    data: bytes

    @classmethod
    def of(cls, sequence: int, record_hash: str, data: bytes) -> StoredSnapshot:
        """Return a snapshot with its digest."""
        return cls(sequence, record_hash, hashlib.sha256(data).hexdigest(), data)

    @property
    def whole(self) -> bool:
        """Whether the data are what was written."""
        return hashlib.sha256(self.data).hexdigest() == self.digest


class Archive(msgspec.Struct, frozen=True):
    """Records ``first`` to ``last`` as compressed JSON lines."""

    first: int
    last: int
    data: bytes


class Image(msgspec.Struct, frozen=True):
    """Everything that a store holds, whether or not it fits together.

    ``known``: a head that the store keeps apart and that may be older, None when it has none.
    """

    head: Head
    records: list[StoredRecord]
    snapshots: list[StoredSnapshot]
    archives: list[Archive]
    known: Head | None = None


_ENCODE_LINE: Final = msgspec.json.Encoder().encode
_DECODE_LINE: Final = msgspec.json.Decoder(StoredRecord).decode


def record_hash(previous: str, sequence: int, kind: str, key: str | None, data: bytes) -> str:
    """Return the hash of a record: of the hash before it, its number, kind, key and bytes."""
    start = f"{previous} {sequence} {len(kind)} {kind} {'-' if key is None else len(key)} "
    sha = hashlib.sha256((start + (key or "")).encode())
    sha.update(data)
    return sha.hexdigest()


def chained(head: Head, entries: Iterable[Entry]) -> list[StoredRecord]:
    """Return the records that entries become after ``head``."""
    made, sequence, previous = [], head.sequence, head.hash
    for kind, data, key in entries:
        sequence += 1
        previous = record_hash(previous, sequence, kind, key, data)
        made.append(StoredRecord(sequence, kind, key, previous, msgspec.Raw(data)))
    return made


def after(head: Head, records: Sequence[StoredRecord]) -> Head:
    """Return the head once ``records`` are appended."""
    if not records:
        return head
    return msgspec.structs.replace(head, sequence=records[-1].sequence, hash=records[-1].hash)


def encode_record(record: StoredRecord) -> bytes:
    """Return a record as one JSON line without its end."""
    return _ENCODE_LINE(record)


def decode_record(line: bytes) -> StoredRecord:
    """Return the record of a line.

    Raises:
        DamagedError: it is none.
    """
    try:
        return _DECODE_LINE(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"a record cannot be read: {error}") from error


def pack(records: Sequence[StoredRecord]) -> Archive:
    """Return records, at least one, as an archive."""
    lines = b"\n".join(encode_record(record) for record in records)
    return Archive(records[0].sequence, records[-1].sequence, gzip.compress(lines, 6, mtime=0))


def unpack(archive: Archive) -> list[StoredRecord]:
    """Return the records of an archive.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        lines = gzip.decompress(archive.data).split(b"\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DamagedError(f"archive {archive.first}-{archive.last}: {error}") from error
    return [decode_record(line) for line in lines]


class Store(ABC):
    """One service's records. Methods may be called from any thread.

    Every method raises ``StoreError`` when the store cannot be read or written.
    """

    name: str
    """What messages call it, and what ``--state`` has to be to find it."""

    local: bool
    """Whether every replica runs on the machine on which the store is."""

    @abstractmethod
    def version(self) -> int:
        """Return the sequence of the last record; cheap enough for every decision."""

    @abstractmethod
    def head(self) -> Head:
        """Return the head."""

    @abstractmethod
    def read_after(self, sequence: int) -> list[StoredRecord]:
        """Return the records after ``sequence``, oldest first, as far as they are not archived."""

    @abstractmethod
    def append(self, expected: int, entries: Sequence[Entry]) -> list[StoredRecord]:
        """Append entries in one step and return their records once they are durable.

        Raises:
            ConflictError: the last record is not ``expected``; nothing was written.
        """

    @abstractmethod
    def size(self) -> int:
        """Return about how many bytes records and archive take."""

    @abstractmethod
    def probe(self) -> None:
        """Return once something was written durably: the store can be written."""

    @abstractmethod
    def latest_snapshot(self) -> StoredSnapshot | None:
        """Return the newest snapshot that is whole and of a record here, None without one."""

    @abstractmethod
    def write_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot and the one before it."""

    @abstractmethod
    def archive(self, through: int) -> int:
        """Move the records up to ``through`` to the archive; return how many were moved."""

    @abstractmethod
    def image(self, archives: bool = False) -> Image:
        """Return all that is here; the archives only if asked for."""

    @abstractmethod
    def replace(self, image: Image) -> str:
        """Replace all that is here; return where what was here before is kept."""

    @abstractmethod
    def close(self) -> None:
        """Free what the store holds."""


def records_after(store: Store, sequence: int) -> Iterator[StoredRecord]:
    """Yield the records after ``sequence``, oldest first, also those that have been archived.

    Raises:
        StoreError: the store cannot be read.
        DamagedError: the archive cannot be.
    """
    found = store.read_after(sequence)
    if store.head().archived > sequence:
        image = store.image(archives=True)
        every = chain(*map(unpack, image.archives), image.records)
        found = [record for record in every if record.sequence > sequence]
    yield from found

"""The store in an SQLite file, for replicas on one machine: the default."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any, Final

import msgspec

from serve.state.store import (
    Archive,
    ConflictError,
    DamagedError,
    Entry,
    Head,
    Image,
    Store,
    StoredRecord,
    StoredSnapshot,
    StoreError,
    after,
    chained,
    pack,
)

FILE_NAME: Final = "state.db"
HEAD_NAME: Final = "state.head"
BUSY_TIMEOUT_S: Final = 5.0
SNAPSHOTS_KEPT: Final = 2
_FORMAT: Final = 1
_SCHEMA: Final = """
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT UNIQUE, hash TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL,
    archived INTEGER NOT NULL, archived_hash TEXT NOT NULL
) STRICT;
CREATE TABLE snapshots (
    sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE archives (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at_s REAL NOT NULL) STRICT;
"""
_HEAD: Final = "SELECT sequence, hash, archived, archived_hash FROM head"
_RECORDS: Final = "SELECT sequence, kind, key, hash, data FROM records"


class SqliteStore(Store):
    """The store in ``folder``, made if needed; a write is on disk when a method returns.

    Beside the database lies a small file with the head: it is written after each commit, so it is
    never ahead of the database unless records were lost.

    Raises:
        StoreError: the folder or the database cannot be made or read.
        DamagedError: the database is gone or is none, or another version wrote it.
    """

    local = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE_NAME
        self.name = str(folder)
        self._head_path = folder / HEAD_NAME
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        folder = self.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = not self.path.exists()
            if made and self._head_path.exists():
                raise DamagedError(f"{self.path} is missing")
            # SQLite gives its other files the mode of the first
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._writer, self._reader = self._connect(), self._connect()
            self._prepare()
            self._inode = os.stat(self.path).st_ino
            self._head_file = os.open(self._head_path, os.O_RDWR | os.O_CREAT, 0o600)
            if made:
                self._note(Head())
                _sync_folder(folder)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            raise _translated(self.path, error) from error
        self._changes = -1
        self._version = 0

    def version(self) -> int:
        """See ``Store.version``."""
        with self._reading() as db:
            (changes,) = db.execute("PRAGMA data_version").fetchone()
            if changes != self._changes:
                self._version = _head(db).sequence
                self._changes = changes
        return self._version

    def head(self) -> Head:
        """See ``Store.head``."""
        with self._reading() as db:
            return _head(db)

    def read_after(self, sequence: int) -> list[StoredRecord]:
        """See ``Store.read_after``."""
        with self._reading() as db:
            found = db.execute(f"{_RECORDS} WHERE sequence > ? ORDER BY sequence", (sequence,))
            return [_record(row) for row in found.fetchall()]

    def append(self, expected: int, entries: Sequence[Entry]) -> list[StoredRecord]:
        """See ``Store.append``."""
        with self._writing() as db:
            head = _head(db)
            if head.sequence != expected:
                raise ConflictError(f"record {head.sequence} is the last, not {expected}")
            new = [entry for entry in entries if not _has_key(db, entry.key)]
            records = chained(head, new)
            _insert(db, records)
            head = after(head, records)
            _set_head(db, head)
        self._note(head)
        return records

    def size(self) -> int:
        """See ``Store.size``."""
        try:
            return os.stat(self.path).st_size
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def probe(self) -> None:
        """See ``Store.probe``."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO probe VALUES (1, ?)", (time(),))

    def latest_snapshot(self) -> StoredSnapshot | None:
        """See ``Store.latest_snapshot``."""
        with self._reading() as db:
            head = _head(db)
            for row in db.execute("SELECT * FROM snapshots ORDER BY sequence DESC").fetchall():
                snapshot = StoredSnapshot(*row)
                known = (head.archived_hash,)
                if snapshot.sequence != head.archived:
                    of_record = "SELECT hash FROM records WHERE sequence = ?"
                    known = db.execute(of_record, (snapshot.sequence,)).fetchone()
                if known == (snapshot.hash,) and snapshot.whole:
                    return snapshot
        return None

    def write_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``Store.write_snapshot``."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                msgspec.structs.astuple(snapshot),
            )
            db.execute(
                "DELETE FROM snapshots WHERE sequence NOT IN "
                "(SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT ?)",
                (SNAPSHOTS_KEPT,),
            )

    def archive(self, through: int) -> int:
        """See ``Store.archive``."""
        with self._reading() as db:
            base = _head(db).archived
            query = f"{_RECORDS} WHERE sequence <= ? ORDER BY sequence"
            records = [_record(row) for row in db.execute(query, (through,)).fetchall()]
        if not records:
            return 0
        packed = pack(records)  # before the transaction: other writers need not wait for it
        with self._writing() as db:
            head = _head(db)
            if head.archived != base:
                return 0  # another process has just done it
            db.execute(
                "INSERT INTO archives VALUES (?, ?, ?)", (packed.first, packed.last, packed.data)
            )
            db.execute("DELETE FROM records WHERE sequence <= ?", (packed.last,))
            last = records[-1]
            _set_head(
                db,
                msgspec.structs.replace(head, archived=last.sequence, archived_hash=last.hash),
            )
        return len(records)

    def image(self, archives: bool = False) -> Image:
        """See ``Store.image``."""
        # before the database, so that it is not the newer one
        known = self._noted()
        with self._reading() as db:
            db.execute("BEGIN")
            try:
                found = db.execute(f"{_RECORDS} ORDER BY sequence").fetchall()
                rows = db.execute("SELECT * FROM snapshots ORDER BY sequence").fetchall()
                packed = db.execute("SELECT * FROM archives ORDER BY first").fetchall()
                return Image(
                    head=_head(db),
                    records=[_record(row) for row in found],
                    snapshots=[StoredSnapshot(*row) for row in rows],
                    archives=[Archive(*row) for row in packed] if archives else [],
                    known=known,
                )
            finally:
                db.execute("COMMIT")

    def replace(self, image: Image) -> str:
        """See ``Store.replace``."""
        self.close()
        kept = set_aside(self.folder)
        self._open()
        self.fill(image)
        return str(kept)

    def fill(self, image: Image) -> None:
        """Write an image into an empty store."""
        with self._writing() as db:
            _insert(db, image.records)
            for snapshot in image.snapshots:
                db.execute(
                    "INSERT INTO snapshots VALUES (?, ?, ?, ?)", msgspec.structs.astuple(snapshot)
                )
            for packed in image.archives:
                db.execute("INSERT INTO archives VALUES (?, ?, ?)", msgspec.structs.astuple(packed))
            _set_head(db, image.head)
        self._note(image.head)

    def close(self) -> None:
        """See ``Store.close``."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()
            with suppress(OSError):
                os.close(self._head_file)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _prepare(self) -> None:
        """Make the tables of a new database; refuse one of another version."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            (found,) = self._writer.execute("PRAGMA user_version").fetchone()
            (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not found and not tables:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._writer.execute(statement)
                _set_head(self._writer, Head())
                self._writer.execute(f"PRAGMA user_version = {_FORMAT}")
            elif found != _FORMAT:
                raise DamagedError(f"{self.path} was written by another version ({found})")
        finally:
            self._writer.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._read_lock:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise _translated(self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction, undone if it raises."""
        with self._write_lock:
            db = self._writer
            try:
                if os.stat(self.path).st_ino != self._inode:
                    raise StoreError(f"{self.path} was replaced by another file")
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
            except OSError as error:
                raise StoreError(f"{self.path}: {error.strerror}") from error
            except sqlite3.Error as error:
                raise _translated(self.path, error) from error

    def _note(self, head: Head) -> None:
        """Write the head beside the database, in place: a full disk does not keep it from that."""
        with suppress(OSError):  # an old one says less, nothing wrong
            os.pwrite(self._head_file, f"{head.sequence:020d} {head.hash}\n".encode(), 0)

    def _noted(self) -> Head:
        try:
            number, known = self._head_path.read_text("ascii").split()
            return Head(int(number), known)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._head_path} cannot be read: {error}") from error


def set_aside(folder: Path) -> Path:
    """Rename the files of a store that nobody has open; return what the database is called then."""
    number = 1
    while any(folder.glob(f"*.damaged-{number}*")):
        number += 1
    kept = folder / f"{FILE_NAME}.damaged-{number}"
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / (FILE_NAME + end)).rename(folder / (kept.name + end))
    with suppress(FileNotFoundError):
        (folder / HEAD_NAME).rename(folder / f"{HEAD_NAME}.damaged-{number}")
    return kept


def _translated(path: Path, error: sqlite3.Error) -> StoreError | DamagedError:
    if getattr(error, "sqlite_errorname", "") in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return DamagedError(f"{path}: {error}")
    return StoreError(f"{path}: {error}")


def _head(db: sqlite3.Connection) -> Head:
    row = db.execute(_HEAD).fetchone()
    if row is None:
        raise DamagedError("the head is missing")
    return Head(*row)


def _set_head(db: sqlite3.Connection, head: Head) -> None:
    db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?)", msgspec.structs.astuple(head))


def _record(row: tuple[Any, ...]) -> StoredRecord:
    sequence, kind, key, known, data = row
    return StoredRecord(sequence, kind, key, known, msgspec.Raw(data))


def _insert(db: sqlite3.Connection, records: Sequence[StoredRecord]) -> None:
    db.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
        [(r.sequence, r.kind, r.key, r.hash, bytes(r.data)) for r in records],
    )


def _has_key(db: sqlite3.Connection, key: str | None) -> bool:
    if key is None:
        return False
    return db.execute("SELECT 1 FROM records WHERE key = ?", (key,)).fetchone() is not None


def _sync_folder(folder: Path) -> None:
    """Make the directory entries of new files survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

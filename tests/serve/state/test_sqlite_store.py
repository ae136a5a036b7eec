"""The store in a file; what all stores do is in ``test_store``."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from serve.state.sqlite_store import SqliteStore
from serve.state.store import DamagedError, StoreError
from tests.serve.state.stores import entries


def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state")
    store.append(0, entries(1))
    files = list((tmp_path / "state").iterdir())
    assert {file.name for file in files} >= {"state.db", "state.db-wal", "state.head"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    store.close()


def test_a_database_that_is_gone_or_none_is_damaged(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.append(0, entries(1))
    (tmp_path / "state.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="No such file"):
        store.append(1, entries(1))
    (tmp_path / "state.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="was replaced"):
        store.append(1, entries(1))
    store.close()
    for end in ("-wal", "-shm"):  # the log alone would restore a short history
        (tmp_path / f"state.db{end}").unlink(missing_ok=True)
    with pytest.raises(DamagedError, match="not a database"):
        SqliteStore(tmp_path)
    (tmp_path / "state.db").unlink()
    with pytest.raises(DamagedError, match=r"state\.db is missing"):
        SqliteStore(tmp_path)


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store._writer.execute("PRAGMA user_version = 7")
    store.close()
    with pytest.raises(DamagedError, match=r"was written by another version \(7\)"):
        SqliteStore(tmp_path)


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()

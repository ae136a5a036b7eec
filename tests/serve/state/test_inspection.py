"""What the commands of ``tactical state`` do; tests/cli has the commands themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError, UsageError
from serve.state.inspection import (
    archive_state,
    find_state,
    restore_state,
    show_state,
    verify_state,
)
from serve.state.opening import FolderLock, open_store
from serve.state.records import ControlRecord, entry_of, model_record
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Store


def filled(store: Store, bundle: Bundle) -> None:
    made = [entry_of(model_record(bundle, "first"))]
    made += [entry_of(ControlRecord(float(i), "pause", f"request-{i}")) for i in range(11)]
    store.append(0, made)


def test_a_state_in_use_is_not_restored(bundle: Bundle, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    filled(store, bundle)
    store.close()
    lock = FolderLock(tmp_path, alone=False)
    with pytest.raises(ServiceError, match="another service is using it"):
        restore_state(str(tmp_path))
    lock.release()


def test_the_one_state_in_a_folder_is_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        find_state(str(tmp_path))
    open_store(str(tmp_path / "ONE")).close()
    assert find_state(str(tmp_path)) == find_state(str(tmp_path / "ONE")) == str(tmp_path / "ONE")
    open_store(str(tmp_path / "TWO")).close()
    with pytest.raises(UsageError, match="found ONE, TWO"):
        find_state(str(tmp_path))
    with pytest.raises(UsageError, match="must end with #"):
        find_state("redis://server:6379/0")
    assert find_state("redis://server:6379/0#TEST") == "redis://server:6379/0#TEST"


def test_a_restoration_says_first_what_it_would_do(bundle: Bundle, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    filled(store, bundle)
    assert archive_state(str(tmp_path), keep=0) == 0  # no snapshot covers them
    store._writer.execute("DELETE FROM records WHERE sequence > 9")
    store.close()
    image, found = verify_state(str(tmp_path))
    assert found is not None
    assert (image.head.sequence, found.whole) == (12, 9)
    planned = restore_state(str(tmp_path))
    assert (planned.before, planned.records, planned.kept) == (12, 9, None)
    assert verify_state(str(tmp_path))[1] == found
    done = restore_state(str(tmp_path), write=True)
    assert (done.before, done.records) == (12, 9)
    assert verify_state(str(tmp_path))[1] is None
    assert show_state(str(tmp_path)).records == 9

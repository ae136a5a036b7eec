"""State folders of older versions are read once; damaged or used ones are refused."""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError
from serve.state.conversion import JOURNAL, KEPT, convert_journal
from serve.state.machine import StateMachine
from serve.state.opening import open_store, shared_state
from serve.state.records import ControlRecord, Record, model_record
from serve.state.sqlite_store import SqliteStore
from serve.state.store import DamagedError


def line_of(record: Any) -> bytes:
    raw = msgspec.json.encode(record)
    return msgspec.json.encode({"crc": zlib.crc32(raw), "record": msgspec.Raw(raw)}) + b"\n"


@pytest.fixture
def records(bundle: Bundle) -> list[Record]:
    return [
        model_record(bundle, "a start"),
        ControlRecord(1.0, "pause", "a", "é\n"),
        ControlRecord(2.0, "flatten", "b"),
    ]


@pytest.fixture
def folder(records: list[Record], tmp_path: Path) -> Path:
    (tmp_path / JOURNAL).write_bytes(b"".join(line_of(record) for record in records))
    return tmp_path


def test_a_journal_becomes_a_store_and_is_kept(
    bundle: Bundle, folder: Path, records: list[Record]
) -> None:
    before = (folder / JOURNAL).read_bytes()
    expected = StateMachine(model_record(bundle, "a start"))
    for record in records[1:]:
        expected.apply(record)
    for _ in range(2):
        store = open_store(str(folder))
        found = shared_state(store, model_record(bundle, "another")).machine
        assert found.dump() == expected.dump()
        store.close()
    assert (folder / KEPT).read_bytes() == before
    assert not (folder / JOURNAL).exists()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == []


def test_half_a_last_line_was_never_answered(folder: Path) -> None:
    with (folder / JOURNAL).open("ab") as stream:
        stream.write(b'{"crc": 1, "rec')
    store = open_store(str(folder))
    assert store.version() == 3
    store.close()


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_damaged_line_is_named_and_nothing_is_changed(folder: Path, line: int) -> None:
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"type"', b'"Type"')
    (folder / JOURNAL).write_bytes(b"".join(lines))
    for _ in range(2):
        with pytest.raises(ServiceError, match=f"line {line + 1} is damaged: the checksum differs"):
            open_store(str(folder))
    lines[line] = b"{}\n"
    (folder / JOURNAL).write_bytes(b"".join(lines))
    with pytest.raises(ServiceError, match=f"line {line + 1} is damaged: .*crc"):
        open_store(str(folder))
    assert not (folder / "state.db").exists()


def test_a_journal_that_an_older_service_writes_is_refused(folder: Path) -> None:
    handle = os.open(folder / JOURNAL, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ServiceError, match="another service is using it"):
        open_store(str(folder))
    os.close(handle)
    open_store(str(folder)).close()


def test_a_crash_on_the_way_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def crash(name: str) -> None:
        def fail(path: Path, target: Path) -> Path:
            if path.name == name:
                raise KeyboardInterrupt
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fail)

    for name in ("state.head", "state.db", JOURNAL):
        crash(name)
        with pytest.raises(KeyboardInterrupt):
            convert_journal(folder)
        assert (folder / JOURNAL).exists()
    monkeypatch.setattr(Path, "rename", rename)
    store = open_store(str(folder))
    assert store.version() == 3
    store.close()


def test_a_journal_of_another_version_says_so(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(line_of({"type": "diary"}))
    store = open_store(str(tmp_path))
    assert isinstance(store, SqliteStore)
    with pytest.raises(DamagedError, match="was written by another version"):
        shared_state(store, model_record(bundle, "first"))
    store.close()

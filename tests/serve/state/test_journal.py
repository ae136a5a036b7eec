from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from rllib_tactical.errors import ServiceError
from serve.state.journal import FILE_NAME, Journal


def read(folder: Path) -> list[object]:
    journal = Journal(folder)
    try:
        return [msgspec.json.decode(raw) for raw in journal.records()]
    finally:
        journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "state")
    for number in range(3):
        journal.append({"number": number, "text": "é\n"})
    journal.close()
    return tmp_path / "state"


def test_what_was_written_is_read_again(folder: Path) -> None:
    assert read(folder) == [{"number": number, "text": "é\n"} for number in range(3)]


def test_every_crash_inside_the_last_line_loses_only_that_line(folder: Path) -> None:
    path = folder / FILE_NAME
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(read(folder)) == 2
        assert path.stat().st_size == last
        journal = Journal(folder)
        list(journal.records())
        journal.append({"number": 9})
        journal.close()
        assert read(folder)[-1] == {"number": 9}


@pytest.mark.parametrize("at", [12, 40, 100])
def test_damage_elsewhere_is_refused(folder: Path, at: int) -> None:
    path = folder / FILE_NAME
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ServiceError, match=r"line [123] is damaged"):
        read(folder)


def test_a_second_writer_is_refused(folder: Path) -> None:
    journal = Journal(folder)
    with pytest.raises(ServiceError, match="another service is using it"):
        Journal(folder)
    journal.close()
    read(folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Not a directory"):
        Journal(tmp_path / "file" / "state")


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder)
    list(journal.records())
    before = (folder / FILE_NAME).read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:7]))
    with pytest.raises(ServiceError, match="the disk is full"):
        journal.append({"number": 3})
    assert (folder / FILE_NAME).read_bytes() == before
    monkeypatch.setattr(os, "write", real)
    journal.append({"number": 4})

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ServiceError, match="Input/output error"):
        journal.append({"number": 5})
    monkeypatch.undo()
    # what is on disk is not known any more: better no write than a wrong one
    with pytest.raises(ServiceError, match="could not be repaired"):
        journal.append({"number": 6})
    journal.close()

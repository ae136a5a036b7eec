"""Folders at URIs, on an S3-compatible server."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.artifacts.storage import Mirror, place_of, working_folder
from rllib_tactical.errors import UnreadableError, UsageError
from tests.s3_server import Store, s3_server, uri


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Store | None]]:
    with s3_server() as server:
        yield server


@pytest.fixture
def there(server: tuple[str, Store | None]) -> str:
    return uri(server[0], uuid.uuid4().hex)


def test_a_path_is_an_ordinary_folder(tmp_path: Path) -> None:
    place = place_of(tmp_path / "a")
    assert place.is_local
    assert place.local == tmp_path / "a"
    assert place.files_below() == {}
    assert not place.has("x")
    with pytest.raises(UnreadableError, match="cannot be read"):
        place.read("x")


def test_an_unknown_kind_of_storage_is_named() -> None:
    with pytest.raises(UsageError, match="moon:// is not a storage that is known"):
        place_of("moon://bucket/run")


@pytest.mark.slow
def test_a_mirror_sends_changes_only_and_brings_them_back(tmp_path: Path, there: str) -> None:
    place = place_of(there)
    assert "any" not in str(place)  # no credentials in what is printed
    place = pickle.loads(pickle.dumps(place))  # as it travels to a worker
    local = tmp_path / "here"
    (local / "checkpoints" / "000001").mkdir(parents=True)
    (local / "checkpoints" / "000001" / "checkpoint.json").write_text("{}")
    (local / "checkpoints" / ".writing-x").mkdir()
    (local / "checkpoints" / ".writing-x" / "half").write_text("no")
    (local / "progress.jsonl").write_text("1\n")
    mirror = Mirror(local, place)
    mirror.push()
    assert set(place.files_below()) == {"progress.jsonl", "checkpoints/000001/checkpoint.json"}
    (local / "progress.jsonl").write_text("1\n2\n")
    (local / "checkpoints" / "000001" / "checkpoint.json").unlink()
    (local / "big").write_bytes(b"x" * 12_000_000)  # several parts
    mirror.push()
    assert place.files_below() == {"progress.jsonl": 4, "big": 12_000_000}
    assert (place / "more").files_below() == {}
    other = Mirror(tmp_path / "other", place)
    other.pull(leave_out="checkpoints")
    assert (tmp_path / "other" / "progress.jsonl").read_text() == "1\n2\n"
    assert (tmp_path / "other" / "big").stat().st_size == 12_000_000
    (tmp_path / "other" / "big").unlink()
    other.push()  # what was brought from there is removed there
    assert set(place.files_below()) == {"progress.jsonl"}


def test_what_completes_a_checkpoint_arrives_last(
    tmp_path: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    folder = tmp_path / "checkpoints" / "000002"
    folder.mkdir(parents=True)
    for name in ("checkpoint.json", "actors.safetensors", "zeta"):
        (folder / name).write_text(name)
    original = Mirror._send

    def send(self: Mirror, name: str, state: tuple[int, int]) -> None:
        sent.append(name.rpartition("/")[2])
        original(self, name, state)

    monkeypatch.setattr(Mirror, "_send", send)
    Mirror(tmp_path, place_of(there)).push()
    assert sent == ["actors.safetensors", "zeta", "checkpoint.json"]


@pytest.mark.slow
def test_a_working_folder_is_kept_also_after_an_error(there: str) -> None:
    with pytest.raises(RuntimeError), working_folder(there, resume=False) as folder:
        (folder / "run.json").write_text("{}")
        raise RuntimeError
    assert not folder.exists()
    assert place_of(there).has("run.json")
    with working_folder(there, resume=True) as folder:
        assert (folder / "run.json").read_text() == "{}"


def test_a_working_folder_of_a_path_is_that_path(tmp_path: Path) -> None:
    with working_folder(tmp_path / "run", resume=False) as folder:
        assert folder == tmp_path / "run"

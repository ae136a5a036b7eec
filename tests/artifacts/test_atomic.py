from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rllib_tactical.artifacts.atomic import (
    _claim,
    atomic_file,
    atomic_folder,
    atomic_write_bytes,
    atomic_write_text,
)


def test_writes_text_and_bytes(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "a.txt", "größe")
    atomic_write_bytes(tmp_path / "b.bin", b"\x00\x01")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größe"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\x01"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.bin"]


def test_failure_keeps_the_old_file_and_removes_the_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_temporary_lies_in_the_same_folder_with_the_same_suffix(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.csv.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".a.csv.gz")


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    atomic_write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write_text(tmp_path / "none" / "a.txt", "x")


def test_target_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        atomic_write_text(tmp_path / "folder", "x")
    assert os.listdir(tmp_path) == ["folder"]


def tree(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_appears_whole_with_the_permissions_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with atomic_folder(tmp_path / "made") as staging:
        (staging / "a").write_text("1")
        assert not (tmp_path / "made").exists()
    assert tree(tmp_path / "made") == {"a": "1"}
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["made", "plain"]


def test_a_folder_is_replaced_with_all_that_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("0")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    with atomic_folder(tmp_path / "link") as staging:
        (staging / "new").write_text("1")
        assert tree(tmp_path / "f") == {"old": "0"}
    assert tree(tmp_path / "f") == tree(tmp_path / "link") == {"new": "1"}
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["f", "link"]


def test_a_failure_keeps_the_old_folder_and_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("0")
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(tmp_path / "f") as staging:
        (staging / "new").write_text("half")
        raise RuntimeError("stop")
    assert tree(tmp_path / "f") == {"old": "0"}
    with pytest.raises(NotADirectoryError), atomic_folder(tmp_path / "f" / "old"):
        pass
    assert os.listdir(tmp_path) == ["f"]


def test_without_an_exchange_the_old_folder_is_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "as NFS answers")

    monkeypatch.setattr("rllib_tactical.artifacts.atomic._exchange", unsupported)
    for content in ("1", "2"):
        with atomic_folder(tmp_path / "f") as staging:
            (staging / "a").write_text(content)
    assert tree(tmp_path / "f") == {"a": "2"}
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_living_writer_has_begun_is_left_to_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "f") as first:
        (first / "a").write_text("1")
        with atomic_folder(tmp_path / "f") as second:
            (second / "a").write_text("2")
        assert tree(first) == {"a": "1"}
    assert tree(tmp_path / "f") == {"a": "1"}
    assert os.listdir(tmp_path) == ["f"]
    with atomic_file(tmp_path / "g") as begun:
        begun.write_text("1")
        atomic_write_text(tmp_path / "g", "2")
        assert begun.read_text() == "1"
    assert (tmp_path / "g").read_text() == "1"
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]


def test_one_who_is_taken_for_dead_before_it_has_its_mark_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make() -> Path:
        made.append(tmp_path / str(len(made)))
        if len(made) > 1:  # the first one is removed before it is opened
            made[-1].touch()
        return made[-1]

    def lock(handle: int, how: int) -> None:
        if len(made) == 2:  # and the second one before it is marked
            made[-1].unlink()

    monkeypatch.setattr("fcntl.flock", lock)
    path, handle = _claim(make)
    os.close(handle)
    assert [path.name for path in made] == ["0", "1", "2"]
    assert path == made[2]


def test_only_what_was_begun_for_the_same_file_is_removed(tmp_path: Path) -> None:
    others = [".00112233aabbccdd.tmp.ab", ".a.swp", ".notes.tmp.a", "00112233aabbccdd.tmp.a"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".00112233aabbccdd.tmp.a").touch()
    atomic_write_text(tmp_path / "a", "x")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a"])


KILLED_AT = """
import os, signal, sys
from rllib_tactical.artifacts.atomic import atomic_folder, atomic_write_text
kind, target, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.listdir",
                 "fcntl.flock", "ctypes.dlsym", "shutil.rmtree", "tempfile.mkdtemp"):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
sys.addaudithook(count)
if kind == "file":
    atomic_write_text(target, "new")
else:
    with atomic_folder(target) as staging:
        for name in ("a", "b"):
            atomic_write_text(staging / name, "new")
"""


def killed_at_each_step(kind: str, target: Path, write_old: Callable[[], None]) -> Iterator[int]:
    """Kill -9 before every single step on the file system, one after the other."""
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        write_old()
        arguments = [sys.executable, "-c", KILLED_AT, kind, str(target), str(step)]
        code = subprocess.run(arguments).returncode
        yield step
        step += 1
    assert code == 0


@pytest.mark.slow
def test_whenever_the_writer_is_killed_the_old_folder_or_the_new_one_is_there(
    tmp_path: Path,
) -> None:
    old, new = {"a": "old", "b": "old"}, {"a": "new", "b": "new"}

    def write_old() -> None:
        with atomic_folder(tmp_path / "f") as staging:
            for name, content in old.items():
                (staging / name).write_text(content)

    found = [tree(tmp_path / "f") for _ in killed_at_each_step("folder", tmp_path / "f", write_old)]
    assert len(found) > 15
    assert all(one in (old, new) for one in found)
    assert found == sorted(found, key=lambda one: one == new)  # once new, always new
    assert found[-2:] == [new, new]  # killed while the old one was being removed; not killed
    assert os.listdir(tmp_path) == ["f"]


def test_whenever_the_writer_is_killed_the_old_file_or_the_new_one_is_there_and_no_other(
    tmp_path: Path,
) -> None:
    target, found, left_over = tmp_path / "f", [], []
    for _ in killed_at_each_step("file", target, lambda: atomic_write_text(target, "old")):
        found.append(target.read_text())
        left_over.append(len(os.listdir(tmp_path)) - 1)
    assert len(found) > 5
    assert found == sorted(found, reverse=True)  # old, then new
    assert found[-2:] == ["new", "new"]
    assert max(left_over) == 1  # the next one that wrote the file removed it
    assert os.listdir(tmp_path) == ["f"]

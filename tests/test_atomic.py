from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rllib_tactical.atomic import (
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

    monkeypatch.setattr("rllib_tactical.atomic._exchange", unsupported)
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


KILLED_AT = """
import os, signal, sys
from rllib_tactical.atomic import atomic_folder, atomic_write_text
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod",
                 "ctypes.dlsym", "shutil.rmtree", "tempfile.mkdtemp"):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
sys.addaudithook(count)
with atomic_folder(sys.argv[1]) as staging:
    for name in ("a", "b"):
        atomic_write_text(staging / name, "new")
"""


def test_whenever_the_writer_is_killed_the_old_folder_or_the_new_one_is_there(
    tmp_path: Path,
) -> None:
    """Kill -9 before every single step on the file system, one after the other."""
    old, new = {"a": "old", "b": "old"}, {"a": "new", "b": "new"}
    found, step, code = [], 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        with atomic_folder(tmp_path / "f") as staging:
            for name, content in old.items():
                (staging / name).write_text(content)
        arguments = [sys.executable, "-c", KILLED_AT, str(tmp_path / "f"), str(step)]
        code = subprocess.run(arguments).returncode
        found.append(tree(tmp_path / "f"))
        step += 1
    assert code == 0
    assert step > 15
    assert all(one in (old, new) for one in found)
    assert found == sorted(found, key=lambda one: one == new)  # once new, always new
    assert found[-2:] == [new, new]  # killed while the old one was being removed; not killed
    assert os.listdir(tmp_path) == ["f"]

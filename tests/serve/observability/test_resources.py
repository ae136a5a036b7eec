"""What is used of what the service may use: quotas and limits of control groups, of both kinds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve.observability import resources
from serve.observability.resources import ControlGroups, ResourceProbe

GIB = 1 << 30


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def version2(root: Path, inner: str = "/a/b") -> Path:
    """Return the folder of a group in a tree of version 2; the group around it has the quota."""
    write(root / "proc/self", cgroup=f"0::{inner}")
    mounted = root / "sys/fs/cgroup"
    write(mounted, cgroup__controllers="cpu memory")
    write(mounted / "a", cpu__max="150000 100000", memory__max="max", memory__current=5 * GIB)
    write(mounted / "a", cpu__stat="usage_usec 3000000\nuser_usec 1")
    write(mounted / "a/b", cpu__max="max 100000", memory__max=GIB, memory__current=GIB // 2)
    write(mounted / "a/b", memory__stat=f"anon 5\ninactive_file {GIB // 4}")
    return mounted / "a/b"


def version1(root: Path, visible: bool = True) -> Path:
    path = "/job" if visible else "/docker/not-mounted"
    lines = f"4:memory:{path}\n2:cpu,cpuacct:{path}\n0::/"
    write(root / "proc/self", cgroup=lines)
    folder = "job" if visible else ""
    cpu = root / "sys/fs/cgroup/cpu,cpuacct" / folder
    write(cpu, cpu__cfs_quota_us=50_000, cpu__cfs_period_us=100_000, cpuacct__usage=7_000_000_000)
    memory = root / "sys/fs/cgroup/memory" / folder
    write(memory, memory__limit_in_bytes=2 * GIB, memory__usage_in_bytes=GIB)
    write(memory, memory__stat=f"total_inactive_file {GIB // 2}")
    return cpu


def test_limits_of_version_2_are_those_of_the_groups_around_too(tmp_path: Path) -> None:
    version2(tmp_path)
    groups = ControlGroups(tmp_path)
    assert groups.cpu() == (1.5, 3.0)
    assert groups.memory() == (GIB, GIB // 4)


@pytest.mark.parametrize("visible", [True, False])
def test_limits_of_version_1_also_where_the_groups_folder_is_the_mount(
    tmp_path: Path, visible: bool
) -> None:
    version1(tmp_path, visible)
    groups = ControlGroups(tmp_path)
    assert groups.cpu() == (0.5, 7.0)
    assert groups.memory() == (2 * GIB, GIB // 2)


def test_without_groups_or_limits_there_are_none(tmp_path: Path) -> None:
    assert ControlGroups(tmp_path).cpu() == ControlGroups(tmp_path).memory() == (None, None)
    folder = version1(tmp_path)
    write(folder, cpu__cfs_quota_us=-1)
    assert ControlGroups(tmp_path).cpu() == (None, None)


def test_the_quota_is_what_the_processor_is_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_busy_percent", lambda: 12.0)
    folder, now = version2(tmp_path).parent, [0.0]
    probe = ResourceProbe(tmp_path, tmp_path, lambda: now[0])
    assert probe.read().cpu_percent == 0.0
    for used_s, expected in ((3.0 + 2.7, 90.0), (5.7 + 0.03, 12.0), (99.0, 100.0)):
        now[0] += 2.0
        write(folder, cpu__stat=f"usage_usec {round(used_s * 1e6)}")
        assert probe.read().cpu_percent == pytest.approx(expected)
        now[0] += 0.5  # at most once a second
        assert probe.read().cpu_percent == pytest.approx(expected)
        now[0] -= 0.5


def test_the_limit_is_what_memory_is_judged_by(tmp_path: Path) -> None:
    folder = version2(tmp_path)
    write(folder, memory__current=GIB, memory__stat=f"inactive_file {GIB // 100}")
    assert ResourceProbe(tmp_path, tmp_path).read().memory_percent == pytest.approx(99.0)
    write(folder, memory__max=1 << 60)  # as version 1 says it where there is none
    found = ResourceProbe(tmp_path, tmp_path).read().memory_percent
    assert found == pytest.approx(psutil.virtual_memory().percent, abs=10.0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_processors_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda **how: [90.0, 10.0, 30.0])
    for allowed, expected in (({1}, 10.0), ({1, 2}, 20.0), ({0, 1, 7}, 130.0 / 3)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, allowed=allowed: allowed)
        assert resources._busy_percent() == pytest.approx(expected)


def test_the_disk_is_that_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = psutil.disk_usage

    def usage(path: str) -> Any:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(psutil, "disk_usage", usage)
    found = ResourceProbe(tmp_path / "state" / "TEST").read()
    assert asked == [str(tmp_path)]  # the folder is made later
    (tmp_path / "state" / "TEST").mkdir(parents=True)
    ResourceProbe(tmp_path / "state" / "TEST").read()
    assert asked[1:] == [str(tmp_path / "state" / "TEST")]
    for percent in (found.cpu_percent, found.memory_percent, found.disk_percent):
        assert 0.0 <= percent <= 100.0

"""How much the service uses of what it may use: processors, memory, the disk of its state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_PROBE_EVERY_S: Final = 1.0
_MICROSECOND: Final = 1e-6
_NANOSECOND: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Resources:
    """Use in percent of what the service may use."""

    cpu_percent: float
    memory_percent: float
    disk_percent: float


class ResourceProbe:
    """Reads how busy processors, memory and disk are, at most once a second, without blocking.

    Processors: those that this process may run on, or the quota of its control group where that is
    used more. Memory: of the machine, or of the limit of a control group. Control groups of
    version 1 and 2 are read, and the tightest limit of those around the process counts. Pages of
    files that the system can drop at any time are not counted against a limit.

    Args:
        folder: of the state, whose disk counts; it need not be there yet.
        root: where /proc and /sys are.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        root: Path = Path("/"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._monotonic = folder, monotonic
        self._groups = ControlGroups(root)
        psutil.cpu_percent(interval=None, percpu=True)  # the first one starts the measurement
        self._read_at, self._used_s = monotonic(), self._groups.cpu()[1]
        self._last = self._read(cpu_percent=0.0)

    def read(self) -> Resources:
        """Return the use since the last reading."""
        now = self._monotonic()
        passed_s = now - self._read_at
        if passed_s >= _PROBE_EVERY_S:
            self._read_at = now
            self._last = self._read(max(_busy_percent(), self._quota_percent(passed_s)))
        return self._last

    def _quota_percent(self, passed_s: float) -> float:
        """Return the share of the control group's quota that was used, 0 without one."""
        cores, used_s = self._groups.cpu()
        before_s, self._used_s = self._used_s, used_s
        if cores is None or used_s is None or before_s is None:
            return 0.0
        return min(100.0, max(0.0, 100.0 * (used_s - before_s) / (cores * passed_s)))

    def _read(self, cpu_percent: float) -> Resources:
        limit, used = self._groups.memory()
        memory = psutil.virtual_memory()
        memory_percent = memory.percent
        if limit is not None and used is not None and limit < memory.total:
            memory_percent = max(memory_percent, min(100.0, 100.0 * used / limit))
        return Resources(
            cpu_percent=cpu_percent,
            memory_percent=memory_percent,
            disk_percent=psutil.disk_usage(str(_existing(self._folder))).percent,
        )


class ControlGroups:
    """The limits of the control groups that this process is in.

    Args:
        root: where /proc and /sys are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        mounted = root / "sys/fs/cgroup"
        self._unified: list[Path] = []
        self._by_controller: dict[str, list[Path]] = {}
        for line in _text(root / "proc/self/cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if not controllers:
                base = mounted if (mounted / "cgroup.controllers").exists() else mounted / "unified"
                self._unified = _upwards(base, path)
                continue
            for name in controllers.split(","):
                for base in (mounted / controllers, mounted / name):
                    if base.is_dir():
                        self._by_controller[name] = _upwards(base, path)
                        break

    def cpu(self) -> tuple[float | None, float | None]:
        """Return the tightest quota in processors, and the seconds that its group has used."""
        found: list[tuple[float, float | None]] = []
        for folder in self._unified:
            quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
            if quota.isdigit() and period.isdigit():
                used = _entry(folder / "cpu.stat", "usage_usec")
                found.append((int(quota) / int(period), _times(used, _MICROSECOND)))
        accounts = self._by_controller.get("cpuacct", [])
        for i, folder in enumerate(self._by_controller.get("cpu", [])):
            quota_us, period_us = (
                _number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")
            )
            if quota_us is not None and period_us and quota_us > 0:
                used = _number(accounts[i] / "cpuacct.usage") if i < len(accounts) else None
                found.append((quota_us / period_us, _times(used, _NANOSECOND)))
        return min(found, key=lambda each: each[0], default=(None, None))

    def memory(self) -> tuple[int | None, int | None]:
        """Return limit and use in bytes of the group whose limit is used most."""
        found: list[tuple[int, int]] = []
        for folders, limit_name, used_name, dropped in (
            (self._unified, "memory.max", "memory.current", "inactive_file"),
            (
                self._by_controller.get("memory", []),
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
        ):
            for folder in folders:
                limit, used = _number(folder / limit_name), _number(folder / used_name)
                if limit and used is not None:
                    free = _entry(folder / "memory.stat", dropped) or 0
                    found.append((limit, max(0, used - free)))
        return max(found, key=lambda each: each[1] / each[0], default=(None, None))


def _busy_percent() -> float:
    """Return how busy the processors are that this process may run on, since the last call."""
    busy = psutil.cpu_percent(interval=None, percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not allowed or max(allowed) >= len(busy):  # some are switched off: their places are unknown
        allowed = set(range(len(busy)))
    return float(sum(busy[number] for number in allowed) / max(1, len(allowed)))


def _upwards(base: Path, path: str) -> list[Path]:
    """Return the folders of a control group and of those around it, as far as they can be seen."""
    inner = base / path.lstrip("/")
    around = [inner, *inner.parents]
    return [folder for folder in around[: around.index(base) + 1] if folder.is_dir()]


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("ascii", "replace")
    return ""


def _number(path: Path) -> int | None:
    with suppress(ValueError):
        return int(_text(path))
    return None


def _entry(path: Path, name: str) -> int | None:
    """Return a number from a file of lines with a name and a number each."""
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None


def _times(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor

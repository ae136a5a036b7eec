"""A month of bars through a service, much faster than they come: what grows, and by how much."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from rllib_tactical.bench.measurement import Measurement, Row, single
from rllib_tactical.bench.requests import HOST
from rllib_tactical.bench.scene import Market, Scene, traded
from rllib_tactical.bench.service_process import ServiceProcess
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from serve.deploy.ray_serve import reserve_port
from serve.observability.metrics import MULTIPROCESS_VARIABLE

_LOOK_S: Final = 2.0
_SESSION: Final = re.compile(r"--raylet_socket_name=(\S+?)/sockets/")
_MAX_GROWN_MB: Final = 50.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service uses after a number of decisions; memory and files in MB."""

    decisions: int
    memory_mb: float
    files: int
    files_mb: float


def month_rows(market: Market, folder: Path, progress: Callable[[str], None]) -> Iterator[Row]:
    """Trade the whole market and compare what is used in its middle and at its end."""
    bars = len(market.history)
    name = f"{bars:,} bars"
    progress(name)
    scene = Scene(market, folder, reserve_port(HOST, 0))
    try:
        places = _places(scene.service, folder)
        begun = time.perf_counter()
        trader = traded(scene, market)
        seen = []
        while trader.runs:
            seen.append(usage(scene.service, places, len(trader.trades.decided)))
            time.sleep(_LOOK_S)
        took = time.perf_counter() - begun
        trades = trader.wait()
        time.sleep(_LOOK_S)  # what waits is written
        seen.append(usage(scene.service, places, len(trades.decided)))
    finally:
        scene.service.stop()
    speed = bars * BAR_SECONDS / took
    yield Row(name=f"{name}: times real time", unit="times", measurement=_once(speed), target=1e3)
    yield from growth_rows(name, seen)


def growth_rows(name: str, seen: Sequence[Usage]) -> Iterator[Row]:
    """Return what grew in the second half of the decisions; before it caches fill."""
    last = seen[-1]
    middle = next(each for each in seen if each.decisions >= last.decisions / 2)
    grown = last.memory_mb - middle.memory_mb
    yield single(f"{name}: memory at the end, all processes", "MB", last.memory_mb)
    yield single(f"{name}: memory grown in the second half", "MB", grown, _MAX_GROWN_MB)
    yield single(f"{name}: files more in the second half", "files", last.files - middle.files, 0.0)
    decisions = max(1, last.decisions - middle.decisions)
    size = (last.files_mb - middle.files_mb) * 1e3 / decisions
    yield single(f"{name}: files grown per bar with its decision", "KB", size, 10.0)


def usage(service: ServiceProcess, places: Sequence[Path], decisions: int) -> Usage:
    """Return what a service uses now."""
    files = [size for place in places for size in _sizes(place)]
    return Usage(decisions, service.memory_mb(), len(files), sum(files) / 1e6)


def _sizes(place: Path) -> Iterator[int]:
    """Yield the bytes that each regular file below a folder takes on disk."""
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                found = os.lstat(os.path.join(folder, name))
                yield found.st_blocks * 512


def _places(service: ServiceProcess, state: Path) -> list[Path]:
    """Return the folders that a service writes into."""
    found = [state]
    for process in service.processes("raylet"):
        session = _SESSION.search(" ".join(process.cmdline()))
        found += [Path(session[1])] if session else []
    for process in service.processes("replica"):
        with suppress(psutil.Error):
            telemetry = process.environ().get(MULTIPROCESS_VARIABLE)
            found += [Path(telemetry)] if telemetry else []
    return found


def _once(value: float) -> Measurement:
    return Measurement(value, value, value)

"""The section "bus", with tiny sizes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from rllib_tactical.bench.bus import (
    BusSize,
    EventScene,
    crash_rows,
    one_by_one,
    publish_bars,
    scene,
)
from rllib_tactical.bench.bus_crash import CrashResult
from rllib_tactical.bench.state_server import StateServer, server_program, state_server
from rllib_tactical.config.service import ServiceConfig
from serve.api.streams import BARS
from serve.client.bus import BusReader
from tests.serve.bus.events import on_bus


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> EventScene:
    return scene(tmp_path_factory.mktemp("bus") / "bundle")


@pytest.mark.slow
def test_an_event_of_the_scene_leads_to_a_command_that_is_timed(
    at: EventScene, tmp_path: Path
) -> None:
    program = server_program()
    assert program is not None
    service = ServiceConfig(live_bars=False, max_bar_age_s=1e9, inference_timeout_ms=1e4)

    async def work(running: StateServer) -> tuple[list[float], list[float]]:
        async with on_bus(at.bundle, tmp_path, running.url, service=service):
            return await asyncio.to_thread(one_by_one, running, at.make, 5)

    with state_server(program) as running:
        publish_bars(running, at)
        with BusReader(running.url) as reader:
            sent = [bar for found in reader.read(BARS) for bar in found.message.bars]
        assert sent == at.bars.bars
        took, raw = asyncio.run(work(running))
    assert len(took) == len(raw) == 5
    assert min(raw) > 0.0 and 0.0 < min(took) < 20_000.0


def test_the_table_of_a_crash_says_what_was_killed_and_lost() -> None:
    result = CrashResult(Counter(read=2, server=1), 100, 120, missing=1, twice=2, unseen=3, dead=4)
    rows = crash_rows(result)
    assert rows[0].name == "events without a command in 3 SIGKILLs (read 2, server 1)"
    assert rows[1].name == "events with two commands, of 100 events, 120 published"
    assert [row.measurement.median for row in rows] == [1.0, 2.0, 3.0, 4.0]
    assert not any(row.met for row in rows)
    assert all(row.met for row in crash_rows(CrashResult(Counter(read=1), 5, 5)))


def test_sizes_are_those_of_the_requirement() -> None:
    assert msgspec.to_builtins(BusSize()) == {
        "single": 1_000,
        "sustained_s": 20.0,
        "rate": 500.0,
        "kills": 200,
        "crash_rate": 20.0,
    }

"""A replica of the server is promoted, the service is away for an hour, two machines take turns."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.domain.features.table import compute_features
from serve.api.streams import BARS, COMMANDS, DEAD, DECISIONS, GROUP, SYNERGIES, encode_fields
from serve.api.write_requests import BarsRequest
from serve.client.bus import BusPublisher, BusReader
from tests.serve.bus.events import (
    Bus,
    event,
    messages,
    on_bus,
    publish_bars,
    trading_bar,
    until,
    with_bus,
)
from tests.serve.local import SERVICE, Cluster
from tests.serve.state.pair import Pair, server_and_replica
from tests.serve.writes import BARS as SENT
from tests.serve.writes import bars_body

pytestmark = pytest.mark.slow

BAR_S = 300


def ids(reader: BusReader) -> list[str]:
    return [found.message.event_id for found in reader.read(COMMANDS, count=10_000)]


def all_answered(reader: BusReader) -> bool:
    return not any(state.pending + state.lag for state in reader.inputs())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with server_and_replica(tmp_path) as found:
        yield found


@pytest.mark.parametrize("is_lost", [True, False], ids=["killed", "demoted"])
def test_a_promoted_replica_goes_on_where_the_server_was(
    bundle: Bundle, tmp_path: Path, pair: Pair, trade: tuple[int, int], is_lost: bool
) -> None:
    """Also when the old server lives on as a replica, and its connections with it."""
    t, side = trade

    async def work() -> None:
        async with on_bus(bundle, tmp_path, pair.url):
            with BusPublisher(pair.url) as bus, BusReader(pair.url) as reader:
                await publish_bars(bus, t + 1)
                await asyncio.to_thread(bus.synergy, event("syn-1", t, side))
                await messages(reader, COMMANDS, 1)
                await until(lambda: all_answered(reader) and pair.in_step())
                await asyncio.to_thread(pair.promote, is_lost)
                for name in ("syn-1", "syn-2", "syn-2"):
                    await asyncio.to_thread(bus.synergy, event(name, t, side))
                await until(lambda: len(ids(reader)) >= 2 and all_answered(reader))
                assert ids(reader) == ["syn-1", "syn-2"]
                assert reader.read(DEAD) == []

    asyncio.run(work())


def test_events_of_the_hour_in_which_the_service_was_away_are_late_and_newer_ones_are_traded(
    bundle: Bundle, tmp_path: Path, bus: Bus
) -> None:
    names = ("open", "high", "low", "close")
    on_tick = replace(SENT, **{name: np.round(getattr(SENT, name), 2) for name in names})
    t, side = trading_bar(compute_features(on_tick), bundle)
    now_s = time.time()
    moved_s = int(now_s // BAR_S - 1) * BAR_S - int(SENT.timestamp_s[t])
    recent = replace(on_tick, timestamp_s=on_tick.timestamp_s + moved_s)

    def bars(first: int, stop: int) -> BarsRequest:
        return msgspec.convert(bars_body(first, stop, recent), BarsRequest)

    def at(name: str, bar: int) -> Any:
        return event(name, bar, side, timestamp=float(recent.timestamp_s[bar] + BAR_S))

    with redis.Redis.from_url(bus.url) as server:
        # entries as they came, the first of them an hour ago
        for number, bar in enumerate(range(t - 12, t + 1)):
            at_ms = round(1e3 * (now_s - 3_600 + number * 290))
            first = 0 if number == 0 else bar
            server.xadd("{tactical}:bars", encode_fields(bars(first, bar + 1)), id=f"{at_ms}-0")
            if number in (0, 4):
                fields = encode_fields(at(f"away-{number}", bar))
                server.xadd("{tactical}:synergies", fields, id=f"{at_ms + 1}-0")
        # a consumer that never came back has read the first of them
        streams = [f"{{tactical}}:{stream.name}" for stream in (BARS, SYNERGIES)]
        for key in streams:
            server.xgroup_create(key, GROUP, id="0")
        server.xreadgroup(GROUP, "away", dict.fromkeys(streams, ">"), count=1)
    bus.publisher.synergy(at("now", t), want_decision=True)

    async def work(cluster: Cluster) -> None:
        found = [m.message for m in await messages(bus.reader, DECISIONS, 3)]
        assert [(m.event_id, m.answer.decision.reason) for m in found] == [
            ("away-0", "event_late"),
            ("away-4", "event_late"),
            ("now", "execute"),
        ]
        await messages(bus.reader, COMMANDS, 1)
        await until(lambda: all_answered(bus.reader))
        assert ids(bus.reader) == ["now"]
        assert bus.reader.read(DEAD) == []

    with_bus(bundle, tmp_path, bus, work, service=replace(SERVICE, live_bars=True))


def serve(bundle: Path, folder: Path, url: str) -> None:
    """Run a machine's replica of the service: the state is on the server of the bus."""

    async def run() -> None:
        async with on_bus(load_bundle(bundle), folder, url, store=f"{url}#state"):
            await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def machines(bundle: Bundle, folder: Path, url: str) -> Iterator[dict[int, Any]]:
    """Run the replicas of two machines; yield their processes by id."""
    context = multiprocessing.get_context("spawn")
    started: list[Any] = []
    try:
        for name in ("one", "two"):
            arguments = (bundle.path, folder / name, url)
            started.append(context.Process(target=serve, args=arguments))
            started[-1].start()
        yield {process.pid: process for process in started}
    finally:
        for process in started:
            process.kill()
            process.join()


def leader(bus: Bus) -> int:
    """Return the process that reads, 0 while there is none."""
    with redis.Redis.from_url(bus.url) as server:
        lease = server.get("{tactical}:lease")
    return int(lease.decode().split("-")[-2]) if isinstance(lease, bytes) else 0


def test_two_machines_are_one_group_and_one_of_them_is_killed_in_the_middle(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(processes: dict[int, Any]) -> None:
        await publish_bars(bus.publisher, t + 1)
        for number in range(60):
            bus.publisher.synergy(event(f"syn-{number}", t, side))
        await messages(bus.reader, COMMANDS, 60)
        first = await until(lambda: leader(bus))
        loaded = asyncio.create_task(asyncio.to_thread(publish, 60, 200))
        await messages(bus.reader, COMMANDS, 80)
        processes[first].kill()
        await loaded
        await until(lambda: all_answered(bus.reader) and len(ids(bus.reader)) >= 200)
        assert sorted(ids(bus.reader)) == sorted(f"syn-{number}" for number in range(200))
        assert bus.reader.read(DEAD) == []
        assert leader(bus) not in (0, first)

    def publish(start: int, stop: int) -> None:
        for number in range(start, stop):
            for _ in range(1 + number % 2):
                bus.publisher.synergy(event(f"syn-{number}", t, side))

    with machines(bundle, tmp_path, bus.url) as processes:
        asyncio.run(work(processes))

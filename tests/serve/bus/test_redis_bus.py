"""The server of the bus gone, full, slow or unsafe; the state gone; consumers that end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.api.streams import BARS, COMMANDS, DEAD, GROUP, SYNERGIES, encode_fields
from serve.bus import redis_bus
from serve.bus.consumer import BusConsumer
from serve.bus.entries import MAX_DELIVERIES
from serve.bus.redis_bus import BusError, Lease, RedisBus, Settlement
from serve.client.bus import BusPublisher
from serve.client.calls import Retries
from serve.http.app import DecisionApp
from tests.serve.bus.events import Bus, bars_request, event, messages, publish_bars, until, with_bus
from tests.serve.conftest import request_at
from tests.serve.local import SHORT_LEASE, Cluster, Lost
from tests.serve.state.stores import valkey_server
from tests.serve.writes import BARS as SENT
from tests.serve.writes import accepted


def ids(bus: Bus) -> list[str]:
    return [found.message.event_id for found in bus.reader.read(COMMANDS)]


def unanswered(bus: Bus) -> list[int]:
    return [state.pending + state.lag for state in bus.reader.inputs()]


def waiting(bus: Bus) -> bool:
    return any(unanswered(bus))


def of(app: DecisionApp) -> BusConsumer:
    assert app.bus is not None
    return app.bus


def server_of(bus: Bus) -> Any:
    return redis.Redis.from_url(bus.url)


async def trouble(cluster: Cluster, text: str, replica: int = 0) -> None:
    """Wait until /health is degraded by the bus for a reason that has ``text`` in it."""
    for _ in range(400):
        health = (await cluster.get("/health", replica)).json()
        found = [a["message"] for a in health["alerts"] if a["component"] == "bus"]
        if health["components"]["bus"]["status"] == "degraded" and any(text in m for m in found):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def answers_http(cluster: Cluster, table: FeatureTable) -> None:
    begun = time.monotonic()
    await accepted(cluster, "/decide", request_at(table, 330))
    assert time.monotonic() - begun < 1.5


@pytest.mark.slow
def test_a_server_that_is_gone_leaves_http_and_is_caught_up_with(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        bus.publisher.synergy(event("syn-1", t, side))
        await messages(bus.reader, COMMANDS, 1)
        await asyncio.to_thread(bus.server.terminate)
        await trouble(cluster, "the bus cannot be used")
        await answers_http(cluster, table)
        with pytest.raises(ServiceError, match="socket"):
            BusPublisher(bus.url, retries=Retries(count=0)).synergy(event("syn-2", t, side))
        await asyncio.to_thread(bus.server.start)
        for name in ("syn-1", "syn-2", "syn-2"):
            bus.publisher.synergy(event(name, t, side))
        await until(lambda: not waiting(bus))
        assert ids(bus) == ["syn-1", "syn-2"]
        await until(lambda: of(cluster.apps[0]).status.unreachable is None)

    with_bus(bundle, tmp_path, bus, work)


def test_the_service_starts_without_the_server(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade
    bus.server.terminate()

    async def work(cluster: Cluster) -> None:
        await answers_http(cluster, table)
        await trouble(cluster, "the bus cannot be used")
        await asyncio.to_thread(bus.server.start)
        await publish_bars(bus.publisher, t + 1)
        bus.publisher.synergy(event("syn-1", t, side))
        await messages(bus.reader, COMMANDS, 1)

    with_bus(bundle, tmp_path, bus, work)


def test_a_full_server_loses_nothing_and_gets_each_command_once(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        await until(lambda: bus.reader.inputs()[1].entries and not waiting(bus))
        with server_of(bus) as server:
            pipe = server.pipeline(transaction=True)
            pipe.xadd("{tactical}:synergies", encode_fields(event("syn-1", t, side)))
            pipe.config_set("maxmemory", 1)
            pipe.execute()
            await trouble(cluster, "maxmemory")
            await answers_http(cluster, table)
            with pytest.raises(ServiceError, match="maxmemory"):
                bus.publisher.synergy(event("syn-2", t, side))
            assert ids(bus) == []
            assert unanswered(bus) == [1, 0, 0]
            server.config_set("maxmemory", 0)
        await messages(bus.reader, COMMANDS, 1)
        bus.publisher.synergy(event("syn-1", t, side))
        await until(lambda: not waiting(bus))
        assert ids(bus) == ["syn-1"]
        assert bus.reader.read(DEAD) == []

    with_bus(bundle, tmp_path, bus, work)


@pytest.mark.slow
def test_a_slow_server_delays_its_own_events_alone(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        await until(lambda: not waiting(bus))
        bus.publisher.synergy(event("syn-1", t, side))
        with server_of(bus) as server:
            server.client_pause(2_000, all=True)
        begun = time.monotonic()
        await answers_http(cluster, table)
        await trouble(cluster, "to answer")
        await messages(bus.reader, COMMANDS, 1)
        assert time.monotonic() - begun > 1.5
        await until(lambda: not waiting(bus))
        assert ids(bus) == ["syn-1"]

    with_bus(bundle, tmp_path, bus, work)


@pytest.mark.slow
def test_an_event_waits_while_the_state_cannot_be_written(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        await until(lambda: not waiting(bus))
        opened = cluster.replica()._open
        with Lost(opened.journal, "append", "probe"):
            bus.publisher.synergy(event("syn-1", t, side))
            bus.publisher.publish(BARS, bars_request(t + 1, t + 2))
            await asyncio.sleep(4 * SHORT_LEASE.poll_s)
            assert unanswered(bus) == [1, 1, 0]
            assert ids(bus) == []
        await messages(bus.reader, COMMANDS, 1)
        await until(lambda: not waiting(bus))
        assert cluster.machine().of().market().last_s == SENT.timestamp_s[t + 1]

    with_bus(bundle, tmp_path, bus, work, service=SHORT_LEASE)


@pytest.mark.slow
def test_one_of_a_group_reads_and_another_takes_over(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        for number in range(20):
            bus.publisher.synergy(event(f"syn-{number}", t, side))
        await messages(bus.reader, COMMANDS, 20)
        leads = await until(lambda: [i for i in (0, 1) if of(cluster.apps[i]).status.leads])
        assert len(leads) == 1
        first = leads[0]
        of(cluster.apps[first])._tasks[0].cancel()  # it keeps the lease no longer
        of(cluster.apps[first])._tasks[1].cancel()
        for number in range(20, 40):
            bus.publisher.synergy(event(f"syn-{number}", t, side))
        await messages(bus.reader, COMMANDS, 40)
        await until(lambda: not waiting(bus))
        assert sorted(ids(bus)) == sorted(f"syn-{number}" for number in range(40))
        await until(lambda: of(cluster.apps[1 - first]).status.leads)

    with_bus(bundle, tmp_path, bus, work, replicas=2)


@pytest.mark.slow
def test_an_entry_that_ends_the_service_again_and_again_is_put_aside(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade
    bus.publisher.synergy(event("syn-1", t, side))
    bus.publisher.synergy(event("syn-2", t, side))

    async def die(times: int) -> None:
        for number in range(times):
            dying = RedisBus(bus.url, f"dead-{number}", 1.0)
            await dying.prepare()
            await dying.read(10, 0.01)
            await dying.claim(SYNERGIES, "0-0")  # it works on the oldest one alone
            await dying.close()

    asyncio.run(die(MAX_DELIVERIES - 1))

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        first, second = [found.message for found in await messages(bus.reader, DEAD, 2)]
        assert (first.code, first.deliveries) == ("undeliverable", MAX_DELIVERIES + 1)
        # what was read before goes first: there were no bars yet, and one more reading is no fault
        assert (second.code, second.deliveries) == ("not_ready", 2)
        await until(lambda: not waiting(bus))

    with_bus(bundle, tmp_path, bus, work)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"appendonly": "no"}, "appendonly must be yes, found no"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy must be noeviction"),
    ],
)
def test_a_server_that_may_lose_what_it_was_given_is_refused(
    tmp_path: Path, config: dict[str, str], text: str
) -> None:
    async def prepare(url: str) -> None:
        bus = RedisBus(url, "one", 1.0)
        try:
            with pytest.raises(BusError, match=text):
                await bus.prepare()
        finally:
            await bus.close()

    with valkey_server(tmp_path / "server", **config) as (url, _):
        asyncio.run(prepare(url))


def test_a_server_that_syncs_once_a_second_is_used_with_a_warning(tmp_path: Path) -> None:
    async def prepare(url: str) -> str | None:
        bus = RedisBus(url, "one", 1.0)
        try:
            return await bus.prepare()
        finally:
            await bus.close()

    with valkey_server(tmp_path / "server", appendfsync="everysec") as (url, _):
        assert (asyncio.run(prepare(url)) or "").startswith("appendfsync is everysec")


def test_old_entries_and_consumers_go_but_nothing_that_is_not_answered(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_bus, "RETENTION_S", -60)
    monkeypatch.setattr(redis_bus, "_IDLE_MS", -1)
    for number in range(400):
        bus.publisher.synergy(event(f"syn-{number}", 5))

    async def work() -> None:
        gone, one = RedisBus(bus.url, "gone", 1.0), RedisBus(bus.url, "one", 1.0)
        await gone.prepare()
        assert await gone.lead() is Lease.TAKEN
        await gone.settle([Settlement(entry=entry) for entry in await gone.read(150, 0.01)])
        await gone.resign()
        assert await one.lead() is Lease.TAKEN
        entries = await one.read(200, 0.01)
        await one.settle([Settlement(entry=entry) for entry in entries[10:]])
        await one.tidy()
        with server_of(bus) as server:
            left = server.xrange("{tactical}:synergies")
            # whole nodes of a stream are dropped at a time
            assert 250 <= len(left) < 400
            names = server.xinfo_consumers("{tactical}:synergies", GROUP)
            assert [found["name"] for found in names] == [b"one"]
        assert [e.entry_id for e in entries[:10]] == [
            waits.entry_id for waits in bus.reader.inputs()[0].waiting
        ]
        for client in (gone, one):
            await client.close()

    asyncio.run(work())

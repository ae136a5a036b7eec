"""What a replica decides on: everything that is committed, or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.decision.decider import Decider
from serve.decision.replica import StateReplica
from serve.state.records import ControlRecord, entry_of
from tests.serve.conftest import request_at
from tests.serve.local import SERVICE, SHORT_LEASE, Cluster, Lost, state_settings
from tests.serve.state.stores import valkey_server
from tests.serve.writes import (
    accepted,
    bars_body,
    executing,
    fill,
    fills_body,
    reasons,
    refused,
    with_service,
)


async def until(holds: Callable[[], Any], limit_s: float = 20.0) -> None:
    """Wait until an awaitable condition holds."""
    deadline = time.monotonic() + limit_s
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.slow
def test_bars_posted_to_one_replica_are_decided_on_by_all(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        first = await accepted(cluster, "/bars", bars_body(0, 359))
        assert (first["accepted"], first["bars"], first["ready"]) == (359, 359, False)
        assert (await refused(cluster, "/decide", {"symbol": "TEST"}))[:2] == (409, "not_ready")
        for t in range(359, 380):
            found = await accepted(cluster, "/bars", bars_body(t, t + 1), t % 3)
            assert found["ready"]
            for replica in range(3):
                by_symbol = await accepted(cluster, "/decide", {"symbol": "TEST"}, replica)
                by_matrix = await accepted(cluster, "/decide", request_at(table, t), replica)
                for answer in (by_symbol, by_matrix):
                    del answer["timing"]
                assert by_symbol == by_matrix

    with_service(bundle, tmp_path, work)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_an_operators_order_is_known_to_all_when_it_is_answered(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, kind: str
) -> None:
    async def work(cluster: Cluster) -> None:
        t, side = await executing(table, cluster)
        base = await reasons(cluster, table, t)
        assert base == ["execute"] * 3
        for i in range(20):
            found = await accepted(cluster, "/admin/override", {"action": "pause"}, i % 3)
            assert found["override"] == "pause"
            assert await reasons(cluster, table, t) == ["paused"] * 3
            await accepted(cluster, "/admin/override", {"action": "resume"}, (i + 1) % 3)
            assert await reasons(cluster, table, t) == base
        await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)))
        await accepted(cluster, "/admin/override", {"action": "flatten"})
        for replica in range(3):
            answer = await accepted(cluster, "/decide", request_at(table, t), replica)
            command = answer["decision"]["execution_command"]
            assert (command["side"], command["quantity"]) == (
                "SELL" if side == "BUY" else "BUY",
                5.0,
            )
        await accepted(cluster, "/admin/override", {"action": "force_hold"})
        assert await reasons(cluster, table, t) == ["forced_hold"] * 3

    if kind == "sqlite":
        with_service(bundle, tmp_path, work)
        return
    with valkey_server(tmp_path / "server") as (url, _):
        with_service(bundle, tmp_path, work, store=f"{url}#TEST")


def test_writes_at_once_to_all_replicas_all_count(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        for replica in range(3):  # in the session of the fills
            cluster.replica(replica).writer.clock = lambda: 181_000.0
        bodies = [
            fills_body(fill(number, "BUY" if number % 2 else "SELL", 1.0, 100.0))
            for number in range(60)
        ]
        found = await asyncio.gather(
            *(accepted(cluster, "/fills", body, i % 3) for i, body in enumerate(bodies))
        )
        assert sorted(answer["version"] for answer in found)[-1] == 61
        assert all(answer["accepted"] == 1 for answer in found)
        for replica in range(3):
            again = await accepted(cluster, "/fills", bodies[0], replica)
            assert (again["repeated"], again["position"], again["version"]) == (1, 0.0, 61)

    with_service(bundle, tmp_path, work)


def test_a_restart_loses_nothing(bundle: Bundle, table: FeatureTable, tmp_path: Path) -> None:
    before: dict[str, Any] = {}

    async def first(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/bars", bars_body(401, 420))
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        await accepted(cluster, "/fills", fills_body(fill(2, "SELL", 5.0, 101.0)))
        await accepted(cluster, "/fills", fills_body(fill(3, "SELL", 2.0, 101.0)))
        await accepted(cluster, "/admin/override", {"action": "pause", "request_id": "a"})
        before["decision"] = await accepted(cluster, "/decide", {"symbol": "TEST"})
        del before["decision"]["timing"]
        before["performance"] = (await cluster.get("/performance?days=3650")).json()
        before["state"] = cluster.machine().dump()

    async def second(cluster: Cluster) -> None:
        assert cluster.machine().dump() == before["state"]
        decision = await accepted(cluster, "/decide", {"symbol": "TEST"})
        del decision["timing"]
        assert decision == before["decision"]
        assert (await cluster.get("/performance?days=3650")).json() == before["performance"]
        pause = {"action": "pause", "request_id": "a"}
        assert (await accepted(cluster, "/admin/override", pause))["repeated"]
        again = await accepted(cluster, "/bars", bars_body(402, 420))
        assert (again["accepted"], again["repeated"]) == (0, 18)

    with_service(bundle, tmp_path, first, replicas=1)
    with_service(bundle, tmp_path, second, replicas=1)
    with_service(bundle, tmp_path, second, replicas=2)


@pytest.mark.parametrize("part", ["version", "read_after"])
def test_a_state_that_cannot_be_read_means_hold_until_a_write_succeeds(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, part: str
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        store = cluster.replica(2)._open.store
        with Lost(store, part, "probe"):
            await accepted(cluster, "/admin/override", {"action": "pause"})
            assert await reasons(cluster, table, t) == ["paused", "paused", "state_unavailable"]
            ready = await cluster.get("/ready", 2)
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "state_unavailable")
            health = (await cluster.get("/health", 2)).json()
            assert health["components"]["bus"]["status"] == "critical"
            await accepted(cluster, "/admin/override", {"action": "resume"})
        with Lost(store, "probe"):  # it can be read again, which is not enough
            assert (await reasons(cluster, table, t))[2] == "state_unavailable"

        async def back() -> bool:
            return await reasons(cluster, table, t) == ["execute"] * 3

        await until(back)
        assert (await cluster.get("/ready", 2)).status_code == 200

    with_service(bundle, tmp_path, work)


@pytest.mark.slow
def test_a_store_that_neither_writes_nor_fails_means_hold(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.replica()._open.store
        waits = store.probe

        def hang() -> None:
            time.sleep(1.5)
            waits()

        store.probe = hang  # type: ignore[method-assign]

        async def held() -> bool:
            return await reasons(cluster, table) == ["state_unavailable"]

        async def back() -> bool:
            return not await held()

        await until(held)
        assert (await refused(cluster, "/bars", bars_body(0, 1)))[:2] == (503, "state_unavailable")
        store.probe = waits  # type: ignore[method-assign]
        await until(back)

    with_service(bundle, tmp_path, work, replicas=1, service=SHORT_LEASE)


def test_no_clock_lifts_a_halt(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        writer = cluster.replica().writer
        writer.clock = lambda: 180_000.0
        body = fills_body(fill(1, "BUY", 5_000.0, 100.0), fill(2, "SELL", 5_000.0, 99.0))
        body["fills"][0]["timestamp"] = body["fills"][1]["timestamp"] = 179_000
        assert (await accepted(cluster, "/fills", body))["halted"]
        writer.clock = lambda: 9 * 86_400.0
        await writer.tend()
        await accepted(cluster, "/admin/override", {"action": "resume"})
        assert (await accepted(cluster, "/fills", body))["halted"]

    with_service(bundle, tmp_path, work, replicas=1, service=replace(SERVICE, live_bars=True))


def test_a_clock_that_jumps_holds_until_it_is_confirmed(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    live = replace(SERVICE, live_bars=True)

    async def work(cluster: Cluster) -> None:
        t, side = await executing(table, cluster)
        await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)))
        for app in cluster.apps:
            assert app._replica._watch is not None
            app._replica._watch._wall = lambda: time.time() + 4_000.0
        assert await reasons(cluster, table, t) == ["clock_jumped"] * 2
        health = (await cluster.get("/health")).json()
        assert health["components"]["bus"]["status"] == "critical"
        assert "the clock has jumped by 4000.0 s: decisions hold" in [
            alert["message"] for alert in health["alerts"]
        ]
        assert (await cluster.get("/ready")).status_code == 200
        await accepted(cluster, "/admin/override", {"action": "flatten"})
        assert await reasons(cluster, table, t) == ["flatten"] * 2
        await accepted(cluster, "/admin/override", {"action": "resume"})
        assert await reasons(cluster, table, t) == ["already_positioned"] * 2

    with_service(bundle, tmp_path, work, replicas=2, service=live)

    async def again(cluster: Cluster) -> None:
        (opened,) = [app._replica._open for app in cluster.apps]
        late = ControlRecord(time.time() + 3_600.0, "resume", None)
        opened.store.append(opened.store.version(), [entry_of(late)])
        assert await reasons(cluster, table) == ["clock_jumped"]

    with_service(bundle, tmp_path, again, replicas=1, service=live)
    # the newest record is still later when the service starts again
    with_service(bundle, tmp_path, still_jumped(table), replicas=1, service=live)


def still_jumped(table: FeatureTable) -> Callable[[Cluster], Any]:
    async def work(cluster: Cluster) -> None:
        assert await reasons(cluster, table) == ["clock_jumped"]

    return work


@pytest.mark.slow
def test_a_redis_that_is_gone_means_hold_and_its_return_goes_on(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    with valkey_server(tmp_path / "server") as (url, server):

        async def work(cluster: Cluster) -> None:
            t, side = await executing(table, cluster)
            await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)))
            await reasons(cluster, table, t)  # each has seen the position
            assert server._process is not None
            server._process.kill()
            server._process.wait()
            assert await reasons(cluster, table, t) == ["state_unavailable"] * 2
            assert (await cluster.get("/ready")).status_code == 503
            response = await cluster.post("/admin/override", {"action": "flatten"})
            assert response.status_code == 503
            message = response.json()["error"]["message"]
            assert message.startswith("flatten is in force only on the machine that answers this")
            # on this machine it is in force: the position is closed
            for replica in range(2):
                answer = await accepted(cluster, "/decide", request_at(table, t), replica)
                assert answer["decision"]["reason"] == "flatten"
                assert answer["decision"]["execution_command"]["quantity"] == 5.0
            assert (await refused(cluster, "/fills", fills_body(fill(2, side, 1.0, 100.0))))[
                0
            ] == 503
            server._process = None
            server.start()

            async def recorded() -> bool:
                ready = await cluster.get("/ready")
                return ready.status_code == 200 and str(cluster.machine().of().control) == "flatten"

            await until(recorded)
            assert cluster.replica()._open.orders.read("TEST") is None
            await accepted(cluster, "/admin/override", {"action": "resume"})
            assert (await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0))))[
                "repeated"
            ] == 1

        with_service(bundle, tmp_path, work, replicas=2, store=f"{url}#TEST")


def test_a_replica_that_has_not_started_says_so(bundle: Bundle, tmp_path: Path) -> None:
    def load(path: str, bundle_id: str) -> Decider:
        raise AssertionError("nothing is loaded before the start")

    replica = StateReplica(state_settings(bundle, tmp_path), load, SERVICE)
    with pytest.raises(ServiceError, match=r"start\(\) must be awaited"):
        replica.active()
    with pytest.raises(ServiceError, match=r"start\(\) must be awaited"):
        _ = replica.writer


def test_a_process_that_cannot_follow_any_more_asks_to_be_replaced(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        cluster.apps[0].check_health()
        cluster.replica()._open.store._writer.execute(  # type: ignore[attr-defined]
            "UPDATE head SET sequence = 0"
        )
        assert await reasons(cluster, table) == ["state_unavailable"]
        with pytest.raises(ServiceError, match="cannot be followed"):
            cluster.apps[0].check_health()

    with_service(bundle, tmp_path, work, replicas=1, service=replace(SERVICE, poll_s=5.0))

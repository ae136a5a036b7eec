"""Orders to stop when the state cannot be written: they are in force, and are recorded later."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.state.inspection import show_state
from serve.state.store import StoreError
from tests.serve.conftest import request_at
from tests.serve.decision.test_replica import until
from tests.serve.local import SHORT_LEASE, Cluster, Lost
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


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow beyond 4 KiB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_with_a_full_disk_decisions_hold_and_a_pause_is_in_force_on_all_replicas(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        with full_disk():
            found = await refused(cluster, "/bars", bars_body(0, 5))
            assert found[:2] == (503, "state_unavailable")
            assert (await reasons(cluster, table, t))[0] == "state_unavailable"
            assert (await cluster.get("/ready")).status_code == 503
            pause = {"action": "pause", "request_id": "night"}
            answer = await accepted(cluster, "/admin/override", pause, 1)
            assert (answer["override"], answer["repeated"]) == ("pause", False)
            assert await reasons(cluster, table, t) == ["paused"] * 3
            assert (await cluster.get("/ready")).status_code == 503
            resume = await refused(cluster, "/admin/override", {"action": "resume"})
            assert resume[0] == 503
            assert show_state(str(tmp_path / "state")).symbols[0].standing_order == "pause"

        async def recorded() -> bool:  # and each replica has written something itself
            cleared = cluster.replica()._open.orders.read("TEST") is None
            return cleared and await reasons(cluster, table, t) == ["paused"] * 3

        await until(recorded)
        assert (await accepted(cluster, "/admin/override", pause))["repeated"]
        assert (await accepted(cluster, "/bars", bars_body(0, 5)))["accepted"] == 5
        await accepted(cluster, "/admin/override", {"action": "resume"})
        assert await reasons(cluster, table, t) == ["execute"] * 3

    with_service(bundle, tmp_path, work)


def test_with_a_full_disk_flatten_closes_the_position(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        # the other replica finds the disk full before it has seen the fill
        cluster.replica(1).availability.failed(StoreError("the disk is full"))
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        with full_disk():
            await refused(cluster, "/bars", bars_body(0, 5))
            await accepted(cluster, "/admin/override", {"action": "pause", "request_id": "one"})
            await accepted(cluster, "/admin/override", {"action": "flatten", "request_id": "two"})
            for replica in range(2):
                answer = await accepted(cluster, "/decide", request_at(table, 320), replica)
                command = answer["decision"]["execution_command"]
                assert (command["side"], command["quantity"]) == ("SELL", 5.0)

    async def after_a_crash(cluster: Cluster) -> None:
        assert await reasons(cluster, table) == ["flatten"]

        async def recorded() -> bool:
            return str(cluster.machine().of().control) == "flatten"

        await until(recorded)

    with_service(bundle, tmp_path, work, replicas=2)
    with_service(bundle, tmp_path, after_a_crash, replicas=1)


@pytest.mark.slow
def test_an_order_does_not_wait_for_a_store_that_hangs(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.replica()._open.store
        append = store.append

        def hang(*arguments: object) -> object:
            time.sleep(2.0)
            return append(*arguments)  # type: ignore[arg-type]

        store.append = hang  # type: ignore[method-assign,assignment]
        begun = time.monotonic()
        await accepted(cluster, "/admin/override", {"action": "pause", "request_id": "a"})
        assert time.monotonic() - begun < 1.9
        assert await reasons(cluster, table) == ["paused"] * 2
        store.append = append  # type: ignore[method-assign]

        async def recorded() -> bool:
            cleared = cluster.replica()._open.orders.read("TEST") is None
            return cleared and await reasons(cluster, table) == ["paused"] * 2

        await until(recorded)
        assert cluster.machine().version == 2  # once, although both attempts came through

    with_service(bundle, tmp_path, work, replicas=2, service=SHORT_LEASE)


def test_an_order_that_cannot_be_written_at_all_says_where_it_is(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cluster: Cluster) -> None:
        opened = cluster.replica()._open
        write = opened.orders.write

        def fail(order: object) -> bool:
            opened.orders._all._unwritten = order  # type: ignore[assignment]
            return False

        with Lost(opened.store, "append", "probe"):
            monkeypatch.setattr(opened.orders, "write", fail)
            response = await cluster.post("/admin/override", {"action": "force_hold"})
            assert response.status_code == 503
            assert "only in the process that answers this" in response.json()["error"]["message"]
            assert (await reasons(cluster, table))[0] == "forced_hold"
            monkeypatch.setattr(opened.orders, "write", write)

        async def recorded() -> bool:
            cleared = opened.orders.read("TEST") is None
            return cleared and await reasons(cluster, table) == ["forced_hold"] * 2

        await until(recorded)

    with_service(bundle, tmp_path, work, replicas=2)


def test_a_request_id_of_another_order_is_refused_without_the_store_too(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        pause = {"action": "pause", "request_id": "a"}
        await accepted(cluster, "/admin/override", pause)
        with Lost(cluster.replica()._open.store, "append", "probe"):
            clash = {"action": "flatten", "request_id": "a"}
            assert await refused(cluster, "/admin/override", clash) == (
                409,
                "conflict",
                "request_id",
            )
            assert (await accepted(cluster, "/admin/override", pause))["repeated"]
            await accepted(cluster, "/admin/override", {"action": "flatten"})
            superseded = (409, "no_longer_in_force", "request_id")
            assert await refused(cluster, "/admin/override", pause) == superseded

    with_service(bundle, tmp_path, work, replicas=1)

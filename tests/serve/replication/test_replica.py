"""A replica's copy of the state: never older than an answered write."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.decision.decider import Decider
from serve.replication.coordinator import Coordinator
from serve.replication.replica import StateReplica
from tests.serve.conftest import request_at
from tests.serve.local import SERVICE, SHORT_LEASE, Cluster, LocalCoordinator, coordinator_settings
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


def test_an_operators_order_is_known_to_all_when_it_is_answered(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
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

    with_service(bundle, tmp_path, work)


def test_no_replica_decides_on_a_state_older_than_an_answered_write(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        cluster.ports[2].cut = True  # this one does not hear of anything any more
        await asyncio.sleep(SHORT_LEASE.poll_s)
        begun = time.monotonic()
        await accepted(cluster, "/admin/override", {"action": "pause"})
        waited = time.monotonic() - begun
        # whoever did not confirm must have run out of its lease by now
        assert await reasons(cluster, table, t) == ["paused", "paused", "state_stale"]
        assert waited <= SHORT_LEASE.lease_s + 2.0
        quick = time.monotonic()
        await accepted(cluster, "/admin/override", {"action": "resume"})
        assert time.monotonic() - quick < SHORT_LEASE.lease_s
        cluster.ports[2].cut = False
        for _ in range(100):
            if await reasons(cluster, table, t) == ["execute"] * 3:
                break
            await asyncio.sleep(0.02)
        assert await reasons(cluster, table, t) == ["execute"] * 3

    with_service(bundle, tmp_path, work, service=SHORT_LEASE)


def test_a_replica_that_has_not_started_says_so(bundle: Bundle, tmp_path: Path) -> None:
    coordinator = Coordinator(coordinator_settings(bundle, tmp_path / "state"))

    def load(path: str, bundle_id: str) -> Decider:
        raise AssertionError("nothing is loaded before the start")

    replica = StateReplica(LocalCoordinator(coordinator), load, "replica", SERVICE)
    with pytest.raises(ServiceError, match=r"start\(\) must be awaited"):
        _ = replica.active
    coordinator.close()

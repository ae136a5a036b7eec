"""An answer with an order leaves only after its decision is durable, and every answer is kept."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import Reason
from serve.decision.controller import caller_of, untimely_event
from serve.http.security import token_digest
from serve.journal.record import Caller
from serve.state.store import Store
from tests.serve.conftest import request_at
from tests.serve.journal.answers import kept
from tests.serve.local import SERVICE, Cluster, Lost
from tests.serve.state.stores import valkey_server
from tests.serve.writes import (
    accepted,
    bars_body,
    executing,
    fill,
    fills_body,
    refused,
    with_service,
)

TOKEN = "a-token-of-sufficient-length"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def journal(cluster: Cluster, replica: int = 0) -> Store:
    return cluster.replica(replica)._open.journal


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_an_order_is_in_the_journal_when_it_is_answered_once_however_often(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, kind: str
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        ids = {
            (await accepted(cluster, "/decide", request_at(table, t), replica))["decision_id"]
            for replica in (0, 1, 0, 1)
        }
        orders = [r for r in kept(journal(cluster)) if r.answered["decision"]["execute"]]
        assert [record.decision_id for record in orders] == list(ids)

    if kind == "sqlite":
        with_service(bundle, tmp_path, work, replicas=2)
        return
    with valkey_server(tmp_path / "server") as (url, _):
        with_service(bundle, tmp_path, work, replicas=2, store=f"{url}#TEST")


def test_what_is_kept_says_who_asked_what_and_on_which_state(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        cluster.clients[0].headers["authorization"] = f"Bearer {TOKEN}"
        await accepted(cluster, "/bars", bars_body(0, 400))
        headers = {"X-Request-Id": "r-1", "traceparent": TRACE}
        answer = await cluster.clients[0].post("/decide", json={"symbol": "TEST"}, headers=headers)
        await cluster.replica().recorder.stop()
        (record,) = kept(journal(cluster))
        assert record.decision_id == answer.json()["decision_id"]
        assert record.caller == Caller(
            request_id="r-1", traceparent=TRACE, address="127.0.0.1", token="desk"
        )
        assert (record.state_version, record.matrix) == (2, None)

    named = {"token_digest": token_digest(TOKEN), "token_name": "desk"}
    with_service(bundle, tmp_path, work, replicas=1, **named)


@pytest.mark.slow
def test_an_order_that_cannot_be_made_durable_holds_and_counts_as_an_error(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        fresh = request_at(table, t, override_params={"base_quantity": 100.0})
        before = len(kept(journal(cluster)))
        with Lost(journal(cluster), "append", "probe"):
            answer = await accepted(cluster, "/decide", fresh)
            assert answer["decision"]["reason"] == "state_unavailable"
            assert answer["decision"]["execution_command"] is None
            assert (await cluster.get("/ready")).status_code == 503
            health = (await cluster.get("/health")).json()
            assert health["components"]["pipeline"]["error_rate"] > 0
            for _ in range(2):  # the state can be written, this cannot
                await tried_again(cluster)
            assert (await cluster.get("/ready")).status_code == 503
        assert [
            r for r in kept(journal(cluster))[before:] if r.answered["decision"]["execute"]
        ] == []
        async with asyncio.timeout(60.0):
            while not cluster.replica().availability.ok:
                await asyncio.sleep(SERVICE.poll_s)
        assert (await accepted(cluster, "/decide", fresh))["decision"]["execute"]

    # with a lease that a slow machine keeps: what fails is not waited for
    with_service(bundle, tmp_path, work, replicas=1)


async def tried_again(cluster: Cluster) -> None:
    """Return once the replica has tried a write of the state, which succeeds, after a failure."""
    store = cluster.replica()._open.store
    probe, tried = store.probe, threading.Event()

    def seen() -> None:
        probe()
        tried.set()

    store.probe = seen  # type: ignore[method-assign]
    assert await asyncio.to_thread(tried.wait, 60.0)
    store.probe = probe  # type: ignore[method-assign]


def test_an_order_to_flatten_leaves_without_the_journal_and_is_kept_later(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        await accepted(cluster, "/admin/override", {"action": "flatten"})
        with Lost(journal(cluster), "append", "probe"):
            answer = await accepted(cluster, "/decide", request_at(table, 320))
            assert answer["decision"]["execution_command"]["quantity"] == 5.0
        await cluster.replica().recorder.stop()
        assert [record.decision_id for record in kept(journal(cluster))] == [answer["decision_id"]]

    with_service(bundle, tmp_path, work, replicas=1)


def test_a_pause_that_is_answered_while_an_order_is_written_is_in_force(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cluster: Cluster) -> None:
        t, _ = await executing(table, cluster)
        recorder = cluster.replica().recorder
        secure = recorder.secure

        async def paused_meanwhile(*arguments: Any) -> None:
            await secure(*arguments)
            await accepted(cluster, "/admin/override", {"action": "pause"})

        monkeypatch.setattr(recorder, "secure", paused_meanwhile)
        answer = await accepted(cluster, "/decide", request_at(table, t))
        assert answer["decision"]["reason"] == "paused"
        await recorder.stop()
        assert answer["decision_id"] in {r.decision_id for r in kept(journal(cluster))}

    with_service(bundle, tmp_path, work, replicas=1)


def test_an_order_that_was_filled_is_not_given_again(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, side = await executing(table, cluster)
        request = request_at(table, t)
        answer = await accepted(cluster, "/decide", request)
        assert await accepted(cluster, "/decide", request, 1) == answer | {"timing": ANY}
        command = answer["decision"]["execution_command"]
        filled = fill(1, side, 5.0, 100.0, metadata=command["metadata"], commission=0.0)
        await accepted(cluster, "/fills", fills_body(filled))
        await accepted(cluster, "/fills", {"symbol": "TEST", "fills": [], "busts": ["fill-1"]})
        # the account is as before, and so is the id; the broker knows it
        found = await refused(cluster, "/decide", request)
        assert found == (409, "no_longer_in_force", "decision_id")
        other = request_at(table, t, override_params={"seed": 1})
        assert (await accepted(cluster, "/decide", other))["decision"]["execute"]

    with_service(bundle, tmp_path, work, replicas=2)


@pytest.mark.parametrize(
    ("event_s", "expected"),
    [
        (1_200.0, None),  # the bar closes at 1,200: its first one
        (301.0, None),  # 1,200 is the third close from then on
        (300.0, Reason.EVENT_LATE),
        (9_999.0, None),  # only bars tell the time
    ],
)
def test_an_event_is_in_force_for_three_bars(event_s: float, expected: Reason | None) -> None:
    assert untimely_event(event_s, 900, 300, None) is expected
    assert untimely_event(event_s, None, 300, None) is None


def test_clocks_tell_events_of_another_time() -> None:
    clocks = (10_000.0, 10_010.0)
    assert untimely_event(10_060.0, None, 300, clocks) is None
    assert untimely_event(10_060.1, None, 300, clocks) is Reason.EVENT_EARLY
    # the third bar closes at 8,811 + 900 at the latest, and arrives within another bar's length
    assert untimely_event(8_811.0, None, 300, clocks) is None
    assert untimely_event(8_810.0, None, 300, clocks) is Reason.EVENT_LATE


def test_what_a_caller_sends_is_bounded() -> None:
    headers = {b"x-request-id": b"x" * 200, b"traceparent": b"00-zz"}
    assert caller_of(headers, None) == Caller(request_id="x" * 128)
    assert caller_of({}, "10.0.0.1", "desk") == Caller(address="10.0.0.1", token="desk")

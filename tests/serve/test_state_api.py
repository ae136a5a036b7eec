"""Writes over HTTP and what every replica decides after them, without Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.features.table import FeatureTable, compute_features
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import ServiceError
from serve.http.security import token_digest
from serve.state.journal import FILE_NAME
from tests.serve.conftest import request_at, walk
from tests.serve.local import SHORT_LEASE, Cluster, running

BARS = walk(600, seed=7)


def bar_at(bars: Bars, t: int, **changes: Any) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume")
    row = {name: float(getattr(bars, name)[t]) for name in names}
    return {"timestamp": int(bars.timestamp_s[t]), **row, **changes}


def bars_body(first: int, stop: int, bars: Bars = BARS) -> dict[str, Any]:
    return {"symbol": "TEST", "bars": [bar_at(bars, t) for t in range(first, stop)]}


def fill(number: int, side: str, quantity: float, price: float, **more: Any) -> dict[str, Any]:
    return {
        "fill_id": f"fill-{number}",
        "side": side,
        "quantity": quantity,
        "price": price,
        "timestamp": 180_000 + number,
        **more,
    }


def fills_body(*fills: dict[str, Any]) -> dict[str, Any]:
    return {"symbol": "TEST", "fills": list(fills)}


def with_service(
    bundle: Bundle,
    folder: Path,
    work: Callable[[Cluster], Awaitable[None]],
    replicas: int = 3,
    **more: Any,
) -> None:
    async def run() -> None:
        async with running(bundle, folder, replicas, **more) as cluster:
            await work(cluster)

    asyncio.run(run())


async def accepted(cluster: Cluster, path: str, body: Any, replica: int = 0) -> dict[str, Any]:
    response = await cluster.post(path, body, replica)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def refused(cluster: Cluster, path: str, body: Any) -> tuple[int, str, str | None]:
    response = await cluster.post(path, body)
    error = response.json()["error"]
    return response.status_code, error["code"], error["details"].get("field")


async def reasons(cluster: Cluster, table: FeatureTable, t: int = 320) -> list[str]:
    """Return each replica's reason for one window."""
    found = []
    for replica in range(len(cluster.clients)):
        answer = await accepted(cluster, "/decide", request_at(table, t), replica)
        found.append(answer["decision"]["reason"])
    return found


def executing(table: FeatureTable, cluster: Cluster) -> Awaitable[tuple[int, str]]:
    async def find() -> tuple[int, str]:
        for t in range(310, 600):
            answer = await accepted(cluster, "/decide", request_at(table, t))
            if answer["decision"]["execute"]:
                return t, answer["decision"]["execution_command"]["side"]
        raise AssertionError("no window leads to an order")

    return find()


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


def test_bars_are_accepted_once(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        again = await accepted(cluster, "/bars", bars_body(40, 60))
        assert (again["accepted"], again["repeated"], again["bars"]) == (10, 10, 60)
        assert again["last_timestamp"] == 59 * 300
        iso = bar_at(BARS, 60, timestamp="1970-01-01T05:00:00Z")
        milliseconds = bar_at(BARS, 61, timestamp="1970-01-01T06:05:00+01:00")
        found = await accepted(cluster, "/bars", {"symbol": "TEST", "bars": [iso, milliseconds]})
        assert (found["accepted"], found["last_timestamp"]) == (2, 61 * 300)

    with_service(bundle, tmp_path, work, replicas=1)


def changed(t: int, **changes: Any) -> dict[str, Any]:
    return {"symbol": "TEST", "bars": [bar_at(BARS, 49), bar_at(BARS, t, **changes)]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(50, timestamp=50 * 300 + 1), (422, "off_grid", "bars[1].timestamp")),
        (changed(50, timestamp=4_102_444_800), (422, "not_closed", "bars[1].timestamp")),
        (changed(50, timestamp=20 * 300), (422, "out_of_order", "bars[1].timestamp")),
        (changed(49), (422, "out_of_order", "bars[1].timestamp")),
        (changed(50, timestamp=-300), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, timestamp="soon"), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, timestamp="1200-01-01T00:00:00"), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, high=0.5), (422, "invalid_field", "bars[1].high")),
        (changed(50, low=1e6), (422, "invalid_field", "bars[1].low")),
        (changed(50, open=0), (422, "invalid_field", "bars[1].open")),
        (changed(50, volume=-1), (422, "invalid_field", "bars[1].volume")),
        (changed(50, extra=1), (422, "unknown_field", "bars[1].extra")),
        ({"symbol": "OTHER", "bars": [bar_at(BARS, 50)]}, (422, "wrong_symbol", "symbol")),
        ({"symbol": "TEST", "bars": []}, (422, "invalid_field", "bars")),
        (
            {"symbol": "TEST", "bars": [bar_at(BARS, 30, volume=1.0)]},
            (409, "conflict", "bars[0].volume"),
        ),
        (
            {"symbol": "TEST", "bars": [bar_at(BARS, 50), bar_at(BARS, 51, high=1.0)]},
            (422, "invalid_field", "bars[1].high"),
        ),
    ],
)
def test_refused_bars_change_nothing(
    bundle: Bundle, tmp_path: Path, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        journal = (tmp_path / "state" / FILE_NAME).read_bytes()
        assert await refused(cluster, "/bars", body) == expected
        assert (tmp_path / "state" / FILE_NAME).read_bytes() == journal
        found = await accepted(cluster, "/bars", bars_body(49, 50))
        assert (found["repeated"], found["bars"]) == (1, 50)

    with_service(bundle, tmp_path, work, replicas=1)


def test_times_and_prices_are_shown_as_they_are(bundle: Bundle, tmp_path: Path) -> None:
    """Shortened to six digits a time would be off by hours, and two prices would look the same."""

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        close = bar_at(BARS, 49)["close"]
        for body, expected in (
            (changed(50, timestamp=1_700_000_001), "found 1700000001"),
            (changed(50, timestamp=4_102_444_800), "it closes at 4102445100, now is"),
            (
                {"symbol": "TEST", "bars": [bar_at(BARS, 49, close=close + 1e-9)]},
                f"was accepted with {close!r}, found {close + 1e-9!r}",
            ),
        ):
            response = await cluster.post("/bars", body)
            assert expected in response.json()["error"]["message"]

    with_service(bundle, tmp_path, work, replicas=1)


def test_missing_bars_are_reported_and_hold_for_a_while(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        gap = await accepted(cluster, "/bars", bars_body(403, 404))
        assert gap["gaps"] == [{"after": 399 * 300, "before": 403 * 300, "missing_bars": 3}]
        assert gap["degraded"]
        for t in range(404, 409):
            answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
            assert answer["decision"]["reason"] == "data_gap"
            await accepted(cluster, "/bars", bars_body(t, t + 1))
        answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
        assert answer["decision"]["reason"] != "data_gap"
        healed = await accepted(cluster, "/bars", bars_body(409, 464))
        assert not healed["degraded"]

    with_service(bundle, tmp_path, work, replicas=2)


def test_fills_move_the_position_of_all_replicas(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, side = await executing(table, cluster)
        found = await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)))
        sign = 1.0 if side == "BUY" else -1.0
        assert (found["accepted"], found["position"]) == (1, 5.0 * sign)
        assert await reasons(cluster, table, t) == ["already_positioned"] * 3
        other = "SELL" if side == "BUY" else "BUY"
        await accepted(cluster, "/fills", fills_body(fill(2, other, 15.0, 100.0)), 1)
        assert await reasons(cluster, table, t) == ["close_opposite"] * 3
        again = await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)), 2)
        assert (again["accepted"], again["repeated"], again["position"]) == (0, 1, -10.0 * sign)
        health = (await cluster.get("/health", 2)).json()
        assert health["metrics"]["active_positions"] == 1

    with_service(bundle, tmp_path, work)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (fills_body(fill(1, "BUY", 6.0, 100.0)), (409, "conflict", "fills[0].fill_id")),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0), fill(2, "SELL", 1.0, 1.0)),
            (409, "conflict", "fills[1].fill_id"),
        ),
        (fills_body(fill(2, "LONG", 1.0, 1.0)), (422, "invalid_field", "fills[0].side")),
        (fills_body(fill(2, "BUY", 0, 1.0)), (422, "invalid_field", "fills[0].quantity")),
        (fills_body(fill(2, "BUY", 1.0, -1.0)), (422, "invalid_field", "fills[0].price")),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0, timestamp=4_102_444_800)),
            (422, "invalid_field", "fills[0].timestamp"),
        ),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0, metadata={"source": "me"})),
            (422, "invalid_field", "fills[0].metadata.source"),
        ),
        ({"symbol": "X", "fills": [fill(2, "BUY", 1.0, 1.0)]}, (422, "wrong_symbol", "symbol")),
    ],
)
def test_refused_fills_change_nothing(
    bundle: Bundle, tmp_path: Path, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        assert await refused(cluster, "/fills", body) == expected
        found = await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        assert found["position"] == 5.0

    with_service(bundle, tmp_path, work, replicas=1)


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


def test_a_request_id_makes_an_order_count_once(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        pause = {"action": "pause", "request_id": "a"}
        assert not (await accepted(cluster, "/admin/override", pause))["repeated"]
        await accepted(cluster, "/admin/override", {"action": "resume", "request_id": "b"})
        late = await accepted(cluster, "/admin/override", pause)
        assert (late["repeated"], late["override"]) == (True, "none")
        clash = {"action": "flatten", "request_id": "a"}
        assert await refused(cluster, "/admin/override", clash) == (409, "conflict", "request_id")
        wrong = {"action": "stop"}
        assert (await refused(cluster, "/admin/override", wrong))[2] == "action"

    with_service(bundle, tmp_path, work, replicas=1)


def test_resume_does_not_lift_a_drawdown_halt(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        price = float(BARS.close[399])
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 2_000.0, price + 5.0)))
        await accepted(cluster, "/bars", bars_body(400, 401))
        for action in ("pause", "resume"):
            await accepted(cluster, "/admin/override", {"action": action})
        answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
        assert answer["decision"]["reason"] == "session_halted"
        command = answer["decision"]["execution_command"]
        assert (command["side"], command["quantity"]) == ("SELL", 2_000.0)

    with_service(bundle, tmp_path, work, replicas=2)


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
        before["snapshot"] = cluster.coordinator._machine.snapshot()

    async def second(cluster: Cluster) -> None:
        assert cluster.coordinator._machine.snapshot() == before["snapshot"]
        decision = await accepted(cluster, "/decide", {"symbol": "TEST"})
        del decision["timing"]
        assert decision == before["decision"]
        assert (await cluster.get("/performance?days=3650")).json() == before["performance"]
        pause = {"action": "pause", "request_id": "a"}
        assert (await accepted(cluster, "/admin/override", pause))["repeated"]
        again = await accepted(cluster, "/bars", bars_body(402, 420))
        assert (again["accepted"], again["repeated"]) == (0, 18)

    with_service(bundle, tmp_path, first, replicas=1)
    with_service(bundle, tmp_path, second, replicas=1, launch="second")
    with_service(bundle, tmp_path, second, replicas=1, launch="second")


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


def test_a_coordinator_that_does_not_run_is_a_503(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        async def fail(*arguments: Any) -> Any:
            raise ServiceError("it does not run")

        port = cluster.ports[0]
        port.write = port.performance = fail  # type: ignore[assignment,method-assign]
        found = await refused(cluster, "/bars", bars_body(0, 5))
        assert found[:2] == (503, "state_unavailable")
        response = await cluster.get("/performance")
        assert (response.status_code, "reached" in response.text) == (503, True)

    with_service(bundle, tmp_path, work, replicas=1)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null", "content-type": "text/plain"},
        {"origin": "http://127.0.0.1:8001", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example:8001"},
        {"host": "127.0.0.1.evil.example"},
    ],
)
def test_without_a_token_a_web_page_gives_no_orders(
    bundle: Bundle, tmp_path: Path, headers: dict[str, str]
) -> None:
    async def work(cluster: Cluster) -> None:
        body = b'{"action": "flatten"}'
        client = cluster.clients[0]
        response = await client.post("/admin/override", content=body, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_page")
        assert cluster.coordinator._machine.control is Control.NONE
        assert (await client.get("/model", headers=headers)).status_code == 403
        assert (await client.get("/health", headers=headers)).status_code == 200
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        sent = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {"type": "websocket", "path": "/ws", "headers": raw}
        await cluster.apps[0](scope, receive, send)
        assert sent == ["websocket.close"]
        for host in ("localhost:8001", "[::1]:8001", "127.0.0.1"):
            assert (await client.get("/model", headers={"host": host})).status_code == 200

    with_service(bundle, tmp_path, work, replicas=1)


def test_with_a_token_the_token_alone_decides(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        page = {"origin": "https://desk.example", "host": "desk.example"}
        assert (await cluster.clients[0].get("/model", headers=page)).status_code == 401
        page["authorization"] = f"Bearer {'t' * 16}"
        assert (await cluster.clients[0].get("/model", headers=page)).status_code == 200

    with_service(bundle, tmp_path, work, replicas=1, token_digest=token_digest("t" * 16))


def test_a_state_that_cannot_be_written_is_a_503(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 5))
        cluster.coordinator._journal._broken = True
        found = await refused(cluster, "/bars", bars_body(5, 6))
        assert found[:2] == (503, "state_unavailable")
        cluster.coordinator._journal._broken = False
        assert (await accepted(cluster, "/bars", bars_body(5, 6)))["accepted"] == 1

    with_service(bundle, tmp_path, work, replicas=1)


def test_bars_in_the_service_are_the_batch_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    table = compute_features(BARS)

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 600))
        market = cluster.coordinator._machine.snapshot().market
        assert market is not None
        assert market.matrix == table.raw[540:600].tobytes()
        assert (market.price, market.atr) == (table.close[599], table.atr[599])

    with_service(bundle, tmp_path, work, replicas=1)

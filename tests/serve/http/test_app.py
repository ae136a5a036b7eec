"""Routes, access and errors of the service, without Ray."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle, copy_bundle
from rllib_tactical.domain.decision.override import Control
from serve.http.security import token_digest
from serve.state.records import ControlRecord, ModelRecord, record_of
from tests.serve.local import Cluster, Lost
from tests.serve.writes import (
    accepted,
    bars_body,
    refused,
    with_service,
)


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
        assert cluster.machine().of().control is Control.NONE
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
        with Lost(cluster.replica()._open.store, "append"):
            found = await refused(cluster, "/bars", bars_body(5, 6))
            assert found[:2] == (503, "state_unavailable")
            assert (await cluster.get("/health")).json()["components"]["pipeline"] == {
                "status": "critical",
                "error_rate": 0.5,  # one of two writes
                "decisions_overdue_s": None,
            }
            counts = cluster.apps[0]._telemetry._registry
            labels = {"endpoint": "/bars"}
            assert counts.get_sample_value("tactical_failed_writes_total", labels) == 1.0
        assert (await accepted(cluster, "/bars", bars_body(5, 6)))["accepted"] == 1

    with_service(bundle, tmp_path, work, replicas=1)


def test_an_unknown_path_or_method_says_what_there_is(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        client = cluster.clients[0]
        nowhere = await client.get("/nowhere")
        assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "unknown_path")
        assert "/admin/model, /admin/override, /bars" in nowhere.json()["error"]["message"]
        wrong = await client.delete("/health")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
        assert "found DELETE" in wrong.json()["error"]["message"]
        cluster.apps[0]._telemetry.flush()
        for endpoint, status in (("other", "404"), ("/health", "405")):
            labels = {"endpoint": endpoint, "status": status}
            counts = cluster.apps[0]._telemetry._registry
            assert counts.get_sample_value("tactical_requests_total", labels) == 1.0

    with_service(bundle, tmp_path, work, replicas=1)


def test_a_missing_token_names_its_scheme(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        answer = await cluster.clients[0].get("/model")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (await cluster.clients[0].get("/live")).status_code == 200

    with_service(bundle, tmp_path, work, replicas=1, token_digest=token_digest("t" * 16))


def test_what_an_operator_does_needs_the_admin_token_and_is_recorded_with_who_and_why(
    bundle: Bundle, tmp_path: Path
) -> None:
    decides, orders = "t" * 16, "a" * 16
    pause = {"action": "pause", "note": "a news day", "by": "ann"}
    copy = tmp_path / "copy"
    copy_bundle(bundle.path, bundle.bundle_id, copy)

    async def work(cluster: Cluster) -> None:
        async def status(path: str, token: str, body: Any) -> int:
            headers = {"authorization": f"Bearer {token}"}
            answer = await cluster.clients[0].post(path, json=body, headers=headers)
            return answer.status_code

        assert await status("/admin/override", decides, pause) == 401
        assert await status("/admin/model", decides, {"path": "x"}) == 401
        assert await status("/decide", orders, {"symbol": "TEST"}) == 401
        assert await status("/decide", decides, {"symbol": "TEST"}) == 409
        assert await status("/admin/override", orders, pause) == 200
        (stored,) = cluster.replica()._open.store.read_after(1)
        record = record_of(stored)
        assert isinstance(record, ControlRecord)
        assert (record.action, record.note, record.by) == ("pause", "a news day", "ann")
        assert await status("/admin/override", orders, {"action": "flatten"}) == 200
        (stored,) = cluster.replica()._open.store.read_after(2)
        record = record_of(stored)
        assert isinstance(record, ControlRecord)
        assert record.by == "the desk from 127.0.0.1"
        chosen = {"path": str(copy), "note": "it earns more"}
        before_s = time.time()
        assert await status("/admin/model", orders, chosen) == 200
        (stored,) = cluster.replica()._open.store.read_after(3)
        model = record_of(stored)
        assert isinstance(model, ModelRecord)
        assert (model.note, model.by) == ("it earns more", "the desk from 127.0.0.1")
        assert model.at_s is not None
        assert before_s <= model.at_s <= time.time()
        assert await status("/admin/model", orders, {**chosen, "by": "automatic rollback"}) == 422

    digests = {"token_digest": token_digest(decides), "admin_digest": token_digest(orders)}
    with_service(bundle, tmp_path, work, replicas=1, **digests, admin_name="the desk")


def test_a_fault_of_the_service_is_a_500_without_its_details(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(cluster: Cluster) -> None:
        def fail(*arguments: Any) -> Any:
            raise RuntimeError("the password is swordfish")

        cluster.apps[0]._queries._probe.read = fail  # type: ignore[method-assign]
        answer = await cluster.clients[0].get("/health")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert "swordfish" not in answer.text
        assert cluster.apps[0]._telemetry.recent().errors == 1

    with_service(bundle, tmp_path, work, replicas=1)
    assert "swordfish" in caplog.text

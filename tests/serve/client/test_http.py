from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.api.write_requests import BarInput, FillInput
from serve.client import (
    AsyncDecisionClient,
    DecisionClient,
    Retries,
    ServiceAnswerError,
)
from tests.serve.conftest import request_at
from tests.serve.local import running
from tests.serve.writes import bars_body

QUICK = Retries(count=4, first_pause_s=0.0)
HELD = {"override": "pause", "repeated": False, "version": 2}


class Script(httpx.MockTransport):
    """Plays answers one after the other and remembers what was asked."""

    def __init__(self, *outcomes: Any) -> None:
        self.requests: list[httpx.Request] = []
        outcomes_left = list(outcomes)

        def handle(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            outcome = outcomes_left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            status, body = outcome
            return httpx.Response(status, json=body)

        super().__init__(handle)


def blocking(script: Script) -> Any:
    with DecisionClient("http://service", "secret", 1.0, QUICK, script) as client:
        return client.override("pause")


def awaited(script: Script) -> Any:
    async def work() -> Any:
        client = AsyncDecisionClient("http://service", "secret", 1.0, QUICK, script)
        async with client:
            return await client.override("pause")

    return asyncio.run(work())


BOTH = pytest.mark.parametrize("pause", [blocking, awaited])
Pause = Callable[[Script], Any]


@BOTH
def test_what_got_no_answer_is_sent_again_as_it_was(pause: Pause) -> None:
    script = Script(
        httpx.ConnectError("refused"),
        (503, {"error": {"code": "state_unavailable", "message": "", "details": {}}}),
        httpx.ReadTimeout("slow"),
        (404, "Path '/admin/override' not found."),  # a proxy whose service is not there now
        (200, HELD),
    )
    answer = pause(script)
    assert (answer.override, answer.version) == ("pause", 2)
    bodies = {request.content for request in script.requests}
    assert (len(script.requests), len(bodies)) == (5, 1)
    assert msgspec.json.decode(bodies.pop())["request_id"]
    assert script.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("cut", [0, 20, -30, -1])
def test_an_answer_that_was_cut_is_asked_for_again(cut: int) -> None:
    """Over a real connection, as when a replica dies with the answer half sent."""
    body = msgspec.json.encode(HELD)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    whole = head.encode() + b"\r\n" + body
    left = [whole[:cut], whole]
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = await reader.readuntil(b"\r\n\r\n")
        length = int(sent.lower().split(b"content-length:")[1].split(b"\r")[0])
        asked.append(await reader.readexactly(length))
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with AsyncDecisionClient(url, timeout_s=30.0, retries=QUICK) as client:
                assert (await client.override("pause")).version == 2
            left.extend([whole[:cut], whole])
            with DecisionClient(url, timeout_s=30.0, retries=QUICK) as blocking_client:
                found = await asyncio.to_thread(blocking_client.override, "pause")
            assert found.version == 2

    asyncio.run(work())
    assert len(asked) == 4
    assert asked[0] == asked[1] and asked[2] == asked[3]


@BOTH
def test_a_refusal_is_an_error_at_once(pause: Pause) -> None:
    error = {"code": "conflict", "message": "used before", "details": {"field": "request_id"}}
    script = Script((409, {"error": error}))
    with pytest.raises(ServiceAnswerError, match="409 conflict: used before") as caught:
        pause(script)
    assert (caught.value.status, caught.value.field) == (409, "request_id")
    assert len(script.requests) == 1


@BOTH
def test_attempts_come_to_an_end(pause: Pause) -> None:
    script = Script(*[httpx.ReadTimeout("slow")] * 5)
    with pytest.raises(ServiceError, match="POST /admin/override got no answer"):
        pause(script)
    script = Script(*[(503, "no JSON object")] * 5)
    with pytest.raises(ServiceAnswerError, match="503 unknown"):
        pause(script)


@BOTH
def test_another_services_answer_is_an_error(pause: Pause) -> None:
    with pytest.raises(ServiceError, match="answered something else"):
        pause(Script((200, {"hello": 1})))


def test_every_call_against_the_service(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    bars = [BarInput(**bar) for bar in bars_body(0, 400)["bars"]]

    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            transport = httpx.ASGITransport(app=cluster.apps[0])
            async with AsyncDecisionClient("http://localhost", transport=transport) as client:
                assert (await client.send_bars("TEST", bars)).ready
                by_symbol = await client.decide(symbol="TEST")
                by_matrix = await client.decide(**request_at(table, 399))
                assert by_symbol.decision_id == by_matrix.decision_id
                assert by_symbol.decision == by_matrix.decision
                numbers = {"current_price": table.close[399], "atr_5min": table.atr[399]}
                by_arrays = await client.decide(table.raw[340:400], "TEST", numbers)
                assert by_arrays.decision == by_matrix.decision
                with pytest.raises(ServiceError, match="found object"):
                    await client.decide(symbol="TEST", market_context={"atr_5min": object()})
                fill = FillInput("a", "SELL", 2.0, 100.0, 1_000)
                assert (await client.send_fills("TEST", [fill])).position == -2.0
                assert (await client.override("flatten")).override == "flatten"
                order = (await client.decide(symbol="TEST")).decision.execution_command
                assert order is not None
                assert (order.side, order.quantity) == ("BUY", 2.0)
                back = FillInput("b", "BUY", 2.0, 99.0, 2_000, metadata=order.metadata)
                assert (await client.send_fills("TEST", [back])).position == 0.0
                assert (await client.performance(3650)).days == 3650
                assert (await client.load_model(str(bundle.path))).bundle_id == bundle.bundle_id
                assert (await client.health()).components.bus.bars == 400
                with pytest.raises(ServiceAnswerError, match="wrong_symbol"):
                    await client.decide(symbol="OTHER")

    asyncio.run(work())

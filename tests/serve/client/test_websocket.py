"""The WebSocket client against a real server whose answers are scripted."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.errors import ServiceError
from serve.client import DecisionStream, Retries, ServiceAnswerError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from tests.serve.conftest import request_at

QUICK = Retries(count=3, first_pause_s=0.001)

Step = Callable[[ServerConnection, str | bytes], None]


@contextmanager
def scripted(*steps: Step, refuse: int | None = None) -> Iterator[tuple[str, list[Any]]]:
    """Serve one step per message, over however many connections; yield the URL and what came in."""
    left, asked = list(steps), []

    def opened(connection: ServerConnection, request: Request) -> Response | None:
        asked.append(request.headers.get("authorization"))
        return None if refuse is None else connection.respond(HTTPStatus(refuse), "no")

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            asked.append(json.loads(message))
            left.pop(0)(connection, message)

    with serve(handler, "127.0.0.1", 0, process_request=opened) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def answer(bundle: Bundle, table: FeatureTable) -> Step:
    """Answer as the service does."""
    decider, flat = Decider(bundle, PerformanceConfig()), RiskState(Account.opened(1e5))

    def step(connection: ServerConnection, message: str | bytes) -> None:
        body = message.encode() if isinstance(message, str) else message
        connection.send(msgspec.json.encode(decider.answer(body, flat).answer), text=True)

    return step


def cut(connection: ServerConnection, message: str | bytes) -> None:
    connection.socket.close()


def late(connection: ServerConnection, message: str | bytes) -> None:
    """Answer nothing; the client has to give the connection up."""


def test_one_connection_serves_many_decisions(table: FeatureTable, answer: Step) -> None:
    with scripted(answer, answer) as (url, asked), DecisionStream(url + "/", "secret") as stream:
        first = stream.decide(**request_at(table, 320))
        numbers = {"symbol": "TEST", "current_price": table.close[330], "atr_5min": table.atr[330]}
        second = stream.decide(table.raw[271:331], market_context=numbers)
    assert first.decision_id != second.decision_id
    assert asked == ["Bearer secret", request_at(table, 320), request_at(table, 330)]


@pytest.mark.slow
@pytest.mark.parametrize("broken", [cut, late])
def test_what_got_no_answer_is_asked_again_on_another_connection(
    table: FeatureTable, answer: Step, broken: Step
) -> None:
    with (
        scripted(broken, broken, answer, answer) as (url, asked),
        DecisionStream(url, timeout_s=0.5, retries=QUICK) as stream,
    ):
        assert stream.decide(**request_at(table, 320)).bundle_id
        stream.decide(**request_at(table, 321))
    assert asked == [*[None, request_at(table, 320)] * 3, request_at(table, 321)]


def test_attempts_come_to_an_end() -> None:
    with scripted(*[cut] * 4) as (url, asked), DecisionStream(url, retries=QUICK) as stream:
        with pytest.raises(ServiceError, match=r"ws://127.0.0.1:\d+/ws gives no answer"):
            stream.decide(symbol="TEST")
        assert len(asked) == 8
    with (
        pytest.raises(ServiceError, match="gives no answer"),
        DecisionStream(url, retries=QUICK) as stream,
    ):
        stream.decide(symbol="TEST")  # nobody listens there any more


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (503, 4)])
def test_a_refused_connection(status: int, attempts: int) -> None:
    with scripted(refuse=status) as (url, asked), DecisionStream(url, retries=QUICK) as stream:
        with pytest.raises(ServiceError) as caught:
            stream.decide(symbol="TEST")
        assert isinstance(caught.value, ServiceAnswerError) is (status == 403)
        assert len(asked) == attempts


def test_a_refused_request_leaves_the_connection_open(table: FeatureTable, answer: Step) -> None:
    def refuse(connection: ServerConnection, message: str | bytes) -> None:
        error = {"code": "wrong_symbol", "message": "no", "details": {"field": "symbol"}}
        connection.send(json.dumps({"error": error}))

    def nonsense(connection: ServerConnection, message: str | bytes) -> None:
        connection.send("[]")

    with scripted(refuse, nonsense, answer) as (url, asked), DecisionStream(url) as stream:
        with pytest.raises(ServiceAnswerError, match="wrong_symbol") as caught:
            stream.decide(symbol="OTHER")
        assert (caught.value.status, caught.value.field) == (0, "symbol")
        with pytest.raises(ServiceError, match="something else"):
            stream.decide(symbol="OTHER")
        stream.decide(**request_at(table, 320))
        assert asked.count(None) == 1


def test_an_interrupted_decisions_answer_is_nobodys(table: FeatureTable, answer: Step) -> None:
    asked_for = threading.Event()

    def slow(connection: ServerConnection, message: str | bytes) -> None:
        asked_for.wait(10.0)
        answer(connection, message)

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with scripted(slow, answer) as (url, _), DecisionStream(url, retries=QUICK) as stream:
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                stream.decide(**request_at(table, 320))
        finally:
            signal.signal(signal.SIGALRM, before)
        asked_for.set()
        found = stream.decide(**request_at(table, 330))
    with scripted(answer) as (url, _), DecisionStream(url) as stream:
        assert stream.decide(**request_at(table, 330)).decision_id == found.decision_id


def test_a_request_over_the_limit_is_refused_at_once(table: FeatureTable) -> None:
    def close(connection: ServerConnection, message: str | bytes) -> None:
        connection.close(1009)

    with scripted(close) as (url, asked), DecisionStream(url, retries=QUICK) as stream:
        with pytest.raises(ServiceAnswerError, match="too large"):
            stream.decide(**request_at(table, 320))
        assert len(asked) == 2


def test_the_address_is_http() -> None:
    with pytest.raises(ServiceError, match="http://"):
        DecisionStream("127.0.0.1:8001")

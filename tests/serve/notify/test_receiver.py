"""The receiver over real sockets: what it takes, what it refuses, what it sends on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from rllib_tactical.errors import ServiceError
from serve.notify.message import Message
from serve.notify.receiver import MAX_BODY, Receiver
from tests.serve.notify.test_message import alert


@contextmanager
def receiving(send: Callable[[Message], bool]) -> Iterator[httpx.Client]:
    with Receiver("127.0.0.1", 0, send) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}"
        with httpx.Client(base_url=url, trust_env=False, timeout=10.0) as client:
            yield client
        receiver.shutdown()


def webhook() -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": [alert("A", "critical", summary="Late")]}


def test_a_webhook_becomes_a_message() -> None:
    sent: list[Message] = []

    def collect(message: Message) -> bool:
        sent.append(message)
        return True

    with receiving(collect) as client:
        assert client.get("/live").json() == {"status": "alive"}
        answer = client.post("/alerts", json=webhook())
        assert (answer.status_code, answer.json()) == (200, {"status": "sent"})
    (message,) = sent
    assert (message.title, message.tone) == ("A: 1 firing", "failure")


def test_what_did_not_arrive_is_to_be_posted_again() -> None:
    def fail(message: Message) -> bool:
        raise RuntimeError("no network")

    for send in (fail, lambda message: False):
        with receiving(send) as client:
            answer = client.post("/alerts", json=webhook())
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "not_sent")


def test_what_is_no_webhook_is_refused() -> None:
    with receiving(lambda message: pytest.fail("sent")) as client:
        for answer, status in (
            (client.get("/alerts"), 404),
            (client.post("/live", json=webhook()), 404),
            (client.post("/alerts", content=b"{"), 422),
            (client.post("/alerts", json={**webhook(), "version": "3"}), 422),
            (client.post("/alerts", content=iter([b"{}"])), 411),
        ):
            assert answer.status_code == status, answer.text
        assert client.base_url.port is not None
        connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=10.0)
        connection.putrequest("POST", "/alerts")
        connection.putheader("content-length", str(MAX_BODY + 1))
        connection.endheaders()
        assert connection.getresponse().status == httpx.codes.REQUEST_ENTITY_TOO_LARGE
        connection.close()


def test_a_used_port_is_refused() -> None:
    with Receiver("127.0.0.1", 0, lambda message: True) as receiver:
        port = receiver.server_port
        with pytest.raises(ServiceError, match=f"cannot listen on 127.0.0.1 port {port}"):
            Receiver("127.0.0.1", port, lambda message: True)

"""The servers to compare with, called as an ASGI server calls them."""

from __future__ import annotations

import asyncio
from typing import Any

from rllib_tactical.bench.plain_servers import echo_app, read_all


def messages(*received: dict[str, Any]) -> Any:
    """Return an ASGI ``receive`` that gives these messages in turn."""
    left = iter(received)

    async def receive() -> dict[str, Any]:
        return next(left)

    return receive


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def answered(scope: str, *received: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(echo_app({"type": scope}, messages(*received), send))
    return sent


def test_a_body_in_parts_is_read_whole() -> None:
    parts = [part(b"{", True), {"type": "http.request", "more_body": True}, part(b"}", False)]
    assert asyncio.run(read_all(messages(*parts))) == b"{}"
    assert asyncio.run(read_all(messages({"type": "http.request"}))) == b""


def test_the_echo_answers_with_the_body_and_its_length() -> None:
    start, body = answered("http", part(b'{"a":', True), part(b"1}", False))
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": b"7",
    }
    assert body == {"type": "http.response.body", "body": b'{"a":1}'}


def test_the_echo_starts_and_ends_with_its_server() -> None:
    sent = answered("lifespan", {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]

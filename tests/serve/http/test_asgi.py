"""Requests and answers on bare ASGI, as a server hands them over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from serve.api.errors import RequestError
from serve.http.asgi import (
    ClientGoneError,
    HttpRequest,
    HttpResponse,
    Message,
    answer_lifespan,
    json_response,
    refuse_stream,
    stream_messages,
)

LIMIT = 10


class Peer:
    """A server: hands its messages over one after the other and keeps what it is sent."""

    def __init__(self, *messages: Message) -> None:
        self._left = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return self._left.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def unread(self) -> int:
        return len(self._left)


def request(
    peer: Peer | None = None, headers: Mapping[str, str] | None = None, query: bytes = b""
) -> HttpRequest:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"method": "POST", "path": "/decide", "query_string": query, "headers": pairs}
    return HttpRequest.of(scope, (peer or Peer()).receive)


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def read(*messages: Message, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(request(Peer(*messages), named).body(LIMIT))


def refused(*messages: Message, **headers: str) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(*messages, **headers)
    return caught.value.status, caught.value.code


def test_the_last_of_a_repeated_header_counts() -> None:
    headers = [(b"x-a", b"1"), (b"x-a", b"\xe9")]
    scope = {"method": "GET", "path": "/", "query_string": b"", "headers": headers}
    found = HttpRequest.of(scope, Peer().receive)
    assert found.header(b"x-a") == "é"
    assert found.header(b"x-b") is None


def test_parameters_are_known_and_given_once() -> None:
    assert request(query=b"days=7").query(("days",)) == {"days": "7"}
    assert request(query=b"days=").query(("days",)) == {"days": ""}
    assert request().query(("days",)) == {}
    for query, words in ((b"days=1&days=2", "is given twice"), (b"day=1", "not a known parameter")):
        with pytest.raises(RequestError, match=words) as caught:
            request(query=query).query(("days",))
        assert caught.value.status == 422


def test_a_body_in_parts_is_read_whole() -> None:
    assert read(part(b"0123456789")) == b"0123456789"
    assert read(part(b"01", more=True), part(b"", more=True), part(b"23")) == b"0123"
    assert read({"type": "http.request"}) == b""


def test_no_more_is_read_than_is_allowed() -> None:
    assert refused(part(b"0123456789a")) == (413, "body_too_large")
    peer = Peer(part(b"012345", more=True), part(b"6789a", more=True), part(b"never read"))
    with pytest.raises(RequestError, match="at most 10 bytes"):
        asyncio.run(request(peer).body(LIMIT))
    assert peer.unread == 1


@pytest.mark.parametrize("length", ["11", "9" * 30, "-1", "1e1", "²", ""])
def test_a_length_over_the_limit_or_no_number_is_refused_unread(length: str) -> None:
    peer = Peer(part(b"x"))
    if not length:
        assert asyncio.run(request(peer, {"content-length": length}).body(LIMIT)) == b"x"
        return
    with pytest.raises(RequestError) as caught:
        asyncio.run(request(peer, {"content-length": length}).body(LIMIT))
    assert (caught.value.status, peer.unread) == (413, 1)


def test_a_compressed_body_is_refused() -> None:
    assert refused(part(b"x"), content_encoding="gzip") == (415, "unsupported_encoding")
    assert read(part(b"x"), content_encoding="Identity") == b"x"


def test_a_client_that_goes_away_is_noticed() -> None:
    with pytest.raises(ClientGoneError):
        read(part(b"01", more=True), {"type": "http.disconnect"})


def sent(response: HttpResponse, **options: bool) -> list[Any]:
    peer = Peer()
    asyncio.run(response.send(peer.send, **options))
    return peer.sent


def test_an_answer_says_what_it_is_and_how_long() -> None:
    start, body = sent(json_response({"a": 1}, 409, ((b"allow", b"GET"),)))
    assert (start["status"], body["body"]) == (409, b'{"a":1}')
    assert start["headers"] == [
        (b"content-type", b"application/json"),
        (b"content-length", b"7"),
        (b"allow", b"GET"),
    ]
    head = sent(json_response({"a": 1}), without_body=True)
    assert dict(head[0]["headers"])[b"content-length"] == b"7"
    assert head[1]["body"] == b""


def test_start_and_end_of_the_server_are_confirmed() -> None:
    peer = Peer({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    asyncio.run(answer_lifespan(peer.receive, peer.send))
    confirmed = [message["type"] for message in peer.sent]
    assert confirmed == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def streamed(*messages: Message) -> tuple[list[bytes], list[Message]]:
    peer = Peer({"type": "websocket.connect"}, *messages)

    async def work() -> list[bytes]:
        return [message async for message in stream_messages(peer.receive, peer.send, LIMIT)]

    return asyncio.run(work()), peer.sent


def test_a_stream_yields_text_and_bytes_until_it_ends() -> None:
    found, answered = streamed(
        {"type": "websocket.receive", "text": "é"},
        {"type": "websocket.receive", "bytes": b"01", "text": None},
        {"type": "websocket.receive", "text": "\ud800"},
        {"type": "websocket.disconnect"},
    )
    assert found == ["é".encode(), b"01", b"?"]
    assert answered == [{"type": "websocket.accept"}]


def test_a_message_over_the_limit_closes_the_stream() -> None:
    found, answered = streamed(
        {"type": "websocket.receive", "bytes": b"0123456789"},
        {"type": "websocket.receive", "bytes": b"0123456789a"},
    )
    assert found == [b"0123456789"]
    assert answered[-1] == {"type": "websocket.close", "code": 1009}


def test_a_refused_stream_never_opens() -> None:
    peer = Peer({"type": "websocket.connect"})
    asyncio.run(refuse_stream(peer.receive, peer.send))
    assert peer.sent == [{"type": "websocket.close", "code": 1008}]

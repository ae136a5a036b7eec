"""HTTP as the service needs it, straight on ASGI: a request with a bounded body, a JSON answer.

A framework's request and response objects cost a good part of what a decision costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
)
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from serve.api.errors import RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = b"application/json"
_ENCODE: Final = msgspec.json.Encoder().encode


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(slots=True)
class HttpRequest:
    """One request. Header names are lower case; the body is read by ``body``.

    ``address``: the host that the connection comes from, None when it is not known.
    """

    method: str
    path: str
    query_string: bytes
    headers: Mapping[bytes, bytes]
    receive: Receive
    address: str | None = None

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> HttpRequest:
        """Return the request of an ASGI scope; of a repeated header the last one counts."""
        headers = dict(scope["headers"])
        return cls(
            scope["method"],
            scope["path"],
            scope["query_string"],
            headers,
            receive,
            client_address(scope),
        )

    def header(self, name: bytes) -> str | None:
        """Return a header, None when it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self, known: tuple[str, ...]) -> dict[str, str]:
        """Return the query's parameters.

        Raises:
            RequestError: 422 for a parameter that is not known or is given twice.
        """
        pairs = parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in known or name in found:
                rule = "is given twice" if name in found else "is not a known parameter"
                raise RequestError(422, "unknown_field", f"{name}: {rule}", name)
            found[name] = value
        return found

    async def body(self, limit: int) -> bytes:
        """Return the body, reading no more of it than is allowed.

        Raises:
            RequestError: 413 over ``limit`` bytes, 415 for a compressed body.
            ClientGoneError: the connection ended first.
        """
        encoding = (self.header(b"content-encoding") or "identity").lower()
        if encoding != "identity":
            raise RequestError(
                415, "unsupported_encoding", f"content-encoding must be identity, found {encoding}"
            )
        declared = self.header(b"content-length") or "0"
        if not (declared.isascii() and declared.isdecimal()) or int(declared[:20]) > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        total = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            total += len(part)
            if total > limit:
                raise _too_large(limit)
            if not message.get("more_body", False) and not parts:
                return bytes(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer; ``body`` is sent as it is."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    async def send(self, send: Send, without_body: bool = False) -> None:
        """Send status, headers and body; ``without_body`` leaves the body out, as HEAD asks."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if without_body else self.body
        await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """An answer without an end: its parts are sent as they come, until the client has gone."""

    parts: AsyncGenerator[bytes, None]
    receive: Receive
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
    status: int = 200

    async def send(self, send: Send, without_body: bool = False) -> None:
        """Send status, headers and parts; ``without_body`` leaves the parts out."""
        headers = [(b"content-type", self.content_type), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        try:
            if not without_body:
                await self._until_ended(send)
        finally:
            await self.parts.aclose()
        await send({"type": "http.response.body", "body": b""})

    async def _until_ended(self, send: Send) -> None:
        sending = asyncio.ensure_future(self._send_parts(send))
        gone = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel(), sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send_parts(self, send: Send) -> None:
        async for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _until_gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


def json_response(
    body: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> HttpResponse:
    """Return ``body`` as a JSON answer."""
    return HttpResponse(_ENCODE(body), status, JSON, headers)


def client_address(scope: Scope) -> str | None:
    """Return the host that a connection comes from, None when the server does not say."""
    client = scope.get("client")
    return client[0] if client else None


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Confirm start-up and shut-down; the owner of the app starts and stops it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def refuse_stream(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it opens: the client sees a 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def stream_messages(receive: Receive, send: Send, limit: int) -> AsyncIterator[bytes]:
    """Open a WebSocket and yield its messages; one over ``limit`` bytes closes it (1009)."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        if data is None:
            data = (message.get("text") or "").encode(errors="replace")
        if len(data) > limit:
            await send({"type": "websocket.close", "code": 1009})
            return
        yield data


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "body_too_large", f"the body must be at most {limit} bytes")

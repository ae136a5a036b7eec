"""The port of a replica: uvicorn on a socket that all replicas of a service on a machine share.

No proxy stands in front. The kernel gives each new connection to one of the processes that listen
on the port; those of a process that has ended go to the others at once.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import TimerHandle, Transport
from contextlib import suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rllib_tactical.errors import ServiceError

REQUEST_TIMEOUT_S: Final = 10.0
"""What a client has for sending a request, from the connection or the request's first byte."""

MAX_HEAD_BYTES: Final = 16 * 1024
"""Limit of the request line and headers; a longer head is refused with 400."""

IDLE_TIMEOUT_S: Final = 75
"""How long a connection may stay open between two requests."""

_BACKLOG: Final = 2048
_STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.005


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits of a head's size and of the time that a request may take."""

    _head_bytes = 0
    _in_head = False
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Count what arrives as long as a head is not complete."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"The head must have at most {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Start the clock of a request on a connection that was idle."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_request()

    def on_headers_complete(self) -> None:
        """Count no further: the body has a limit of its own."""
        self._in_head, self._head_bytes = False, 0
        if self.parser.should_upgrade():
            self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._in_head = True
        self._stop_clock()
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self._too_slow)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self.transport.close()


class Listener:
    """Serves an ASGI application on a shared port of this machine.

    Args:
        app: the application.
        host: address to listen on, IPv4 or IPv6.
        port: port to listen on.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="critical",
                server_header=False,
                timeout_keep_alive=IDLE_TIMEOUT_S,
                timeout_graceful_shutdown=int(_STOP_TIMEOUT_S),
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether requests are accepted."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Return when requests are accepted.

        Raises:
            ServiceError: the port cannot be listened on.
        """
        bound = shared_socket(self._host, self._port)
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        while not self._server.started:
            if self._task.done():
                raise ServiceError(f"nothing listens on port {self._port}") from (
                    self._task.exception()
                )
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Accept no more connections and return when the requests in flight are answered."""
        if self._task is not None:
            self._server.should_exit = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, 2 * _STOP_TIMEOUT_S)
            self._task = None


def shared_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port together with others of this user.

    Raises:
        ServiceError: the port is taken by somebody else, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # its connections inherit it; an answer is written in two parts, of which the second would wait
    # 40 ms for the client's acknowledgment of the first; uvloop sets it, asyncio itself does not
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ServiceError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound

"""The port of a replica, reached through real sockets."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from rllib_tactical.bench.plain_servers import echo_app
from rllib_tactical.errors import ServiceError
from serve.http import listener
from serve.http.listener import MAX_HEAD_BYTES, Listener, shared_socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_listeners(
    count: int, check: Callable[[int, list[Listener]], Awaitable[None]], app: Any = echo_app
) -> None:
    """Run a check beside listeners on one port, in one event loop."""

    async def run() -> None:
        port = free_port()
        listeners = [Listener(app, "127.0.0.1", port) for _ in range(count)]
        for one in listeners:
            await one.start()
            assert one.alive
        try:
            await check(port, listeners)
        finally:
            for one in listeners:
                await one.stop()
                assert not one.alive

    asyncio.run(run())


async def posted(port: int, body: bytes) -> bytes:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(f"http://127.0.0.1:{port}/", content=body)).content


def test_no_part_of_an_answer_waits_for_the_acknowledgment_of_another() -> None:
    """On asyncio's own loop, too: a delayed acknowledgment takes 40 ms."""

    async def check(port: int, listeners: list[Listener]) -> None:
        took_s = []
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(20):
                began = time.perf_counter()
                await client.post(f"http://127.0.0.1:{port}/", content=b"{}" * 400)
                took_s.append(time.perf_counter() - began)
        assert statistics.median(took_s) < 0.03

    with_listeners(1, check)


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send parts and return all that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()
    return answer


def test_it_answers_and_gives_the_port_free() -> None:
    ports: list[int] = []

    async def check(port: int, listeners: list[Listener]) -> None:
        ports.append(port)
        assert await posted(port, b"body") == b"body"

    with_listeners(1, check)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), 1.0)


@pytest.mark.slow
def test_two_share_a_port_and_one_goes_on_alone() -> None:
    async def check(port: int, listeners: list[Listener]) -> None:
        for k in range(20):
            assert await posted(port, b"%d" % k) == b"%d" % k
        await listeners[0].stop()
        for k in range(20):
            assert await posted(port, b"%d" % k) == b"%d" % k

    with_listeners(2, check)


def test_a_port_of_another_program_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"cannot listen on 127.0.0.1 port {port}"):
            shared_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST / HTTP/1.1\r\nhost: x\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbod",
    ],
)
def test_a_request_that_does_not_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listener, "REQUEST_TIMEOUT_S", 0.2)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "http.request", "body": b"bod", "more_body": True}
        assert (await receive())["type"] == "http.disconnect"

    async def check(port: int, listeners: list[Listener]) -> None:
        assert await exchange(port, sent) == b""

    with_listeners(1, check, slow)


@pytest.mark.slow
def test_the_second_head_of_a_connection_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_TIMEOUT_S", 0.3)
    whole = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok"

    async def check(port: int, listeners: list[Listener]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for wait_s in (0.0, 0.5):  # idle between two requests is not a head that takes long
            await asyncio.sleep(wait_s)
            writer.write(whole)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(whole[:20])
        assert await asyncio.wait_for(reader.read(), 5.0) == b""
        writer.close()

    with_listeners(1, check)


def test_a_head_that_is_too_long_is_refused() -> None:
    async def check(port: int, listeners: list[Listener]) -> None:
        line = b"x: " + b"y" * 1000 + b"\r\n"
        sent = [b"GET / HTTP/1.1\r\nhost: x\r\n", *[line] * (MAX_HEAD_BYTES // 1000 + 1)]
        answer = await exchange(port, *sent)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"at most 16384 bytes" in answer
        # the same bytes as a body are no head
        assert await posted(port, b"y" * 10 * MAX_HEAD_BYTES) == b"y" * 10 * MAX_HEAD_BYTES

    with_listeners(1, check)


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"],
)
def test_what_is_not_http_is_refused(sent: bytes) -> None:
    async def check(port: int, listeners: list[Listener]) -> None:
        assert (await exchange(port, sent)).startswith(b"HTTP/1.1 400")

    with_listeners(1, check)


def test_a_listener_whose_application_fails_stays_alive() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a fault of the application")

    async def run() -> None:
        one = Listener(broken, "127.0.0.1", port := free_port())
        await one.start()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 500
        assert one.alive
        await one.stop()

    asyncio.run(run())

"""Load on a small server of scripted answers: what counts as answered, lost, hung and repeated."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rllib_tactical.bench import load
from rllib_tactical.bench.load import LoadResult, http_request, send_load

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 422 No\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbad"


@contextmanager
def server(replies: list[bytes | None], body: int = 2) -> Iterator[str]:
    """Answer requests of ``body`` bytes with ``replies`` in turn; None is silent, b"" hangs up."""
    left = itertools.cycle(replies)
    address: list[int] = []
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(body)
                reply = next(left)
                if reply is None:
                    continue
                writer.write(reply)
                if reply != OK:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def run() -> asyncio.Server:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        address.append(listening.sockets[0].getsockname()[1])
        started.set()
        return listening

    async def leave() -> None:
        """End the connections that are open, so that none is left to be found later."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)

    def work() -> None:
        listening = loop.run_until_complete(run())
        loop.run_forever()
        listening.close()
        loop.run_until_complete(leave())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{address[0]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def test_answers_and_losses_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "ANSWER_TIMEOUT_S", 0.2)
    request = http_request("/x", b"{}", "h")
    with server([OK, REFUSED, b"", None]) as url:
        found = send_load(
            url, itertools.repeat(request, 8), 1, keep=lambda status, body: status == 422
        )
    assert found.statuses == {200: 2, 422: 2}
    assert (found.lost, found.hung, found.failures()) == (2, 2, 6)
    assert found.bodies == [b"bad", b"bad"]
    assert len(found.latency_ms) == 4
    assert found.rate > 0


def test_what_was_cut_is_sent_again_as_often_as_allowed() -> None:
    request = http_request("/x", b"{}", "h")
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1"
    with server([OK, cut, b"", OK, cut, cut, cut, OK]) as url:
        found = send_load(url, itertools.repeat(request, 4), 1, repeats=2)
    assert found.statuses == {200: 3}
    assert (found.repeated, found.lost) == (4, 1)


def test_the_load_ends_when_it_is_told_to() -> None:
    request = http_request("/x", b"{}", "h")
    asked = itertools.count()
    with server([OK]) as url:
        found = send_load(url, itertools.repeat(request), 2, until=lambda: next(asked) >= 10)
    assert len(found.latency_ms) == 10


def test_rate_and_quantiles_by_hand() -> None:
    found = LoadResult(latency_ms=[4.0, 1.0, 2.0, 3.0, 5.0], statuses={200: 5}, seconds=2.0)
    assert found.rate == 2.5
    assert (found.quantile(0.5), found.quantile(1.0)) == (3.0, 5.0)
    assert found.failures() == 0


def test_a_request_is_a_post_with_the_length_of_its_body_in_bytes() -> None:
    head, _, body = http_request("/decide", "é".encode(), "example").partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /decide HTTP/1.1"
    assert headers == ["host: example", "content-type: application/json", "content-length: 2"]
    assert body.decode() == "é"

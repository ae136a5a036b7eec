"""HTTP load from one event loop: keep-alive connections, prepared requests, exact latencies.

A general HTTP client takes more time than the service that it measures. This one writes prepared
bytes and reads as many as the answer's content-length says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import numpy as np

ANSWER_TIMEOUT_S: Final = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class LoadResult:
    """What became of the requests.

    ``latency_ms`` of answered ones; ``statuses`` number of answers by status; ``lost`` and ``hung``
    requests without an answer, because the connection ended or the time ran out; ``repeated``
    requests sent again after an incomplete answer; ``bodies`` of the answers that were kept.
    """

    latency_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    hung: int = 0
    repeated: int = 0
    seconds: float = 0.0
    bodies: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latency_ms) / self.seconds

    def quantile(self, share: float) -> float:
        """Return a quantile of the latency in milliseconds."""
        return float(np.quantile(self.latency_ms, share))

    def failures(self) -> int:
        """Return how many requests were not answered with 200."""
        return self.lost + self.hung + sum(n for s, n in self.statuses.items() if s != 200)


def http_request(path: str, body: bytes, host: str) -> bytes:
    """Return the bytes of a POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_load(
    url: str,
    requests: Iterator[bytes],
    clients: int,
    keep: Callable[[int, bytes], bool] | None = None,
    until: Callable[[], bool] | None = None,
    repeats: int = 0,
) -> LoadResult:
    """Send requests over ``clients`` connections; each waits for its answer before the next.

    Args:
        url: of the service.
        requests: prepared requests, shared by the connections; the load ends with the last.
        clients: number of connections.
        keep: which answers (status, body) go into ``bodies``.
        until: called before each request; True ends the load.
        repeats: how often a request whose connection ended is sent again before it counts as lost.
    """
    return asyncio.run(_send_load(url, requests, clients, keep, until, repeats))


async def _send_load(
    url: str,
    requests: Iterator[bytes],
    clients: int,
    keep: Callable[[int, bytes], bool] | None,
    until: Callable[[], bool] | None,
    repeats: int,
) -> LoadResult:
    result, parts = LoadResult(), urlsplit(url)
    begun = time.perf_counter()

    async def client() -> None:
        connection: Connection | None = None
        again: list[bytes] = []
        left = repeats
        while True:
            if until is not None and until() and not again:
                break
            request = again.pop() if again else next(requests, None)
            if request is None:
                break
            start = time.perf_counter()
            try:
                if connection is None:
                    connection = await asyncio.open_connection(parts.hostname, parts.port)
                status, body, last = await asyncio.wait_for(
                    _exchange(*connection, request), ANSWER_TIMEOUT_S
                )
            except TimeoutError:
                result.hung += 1
                await _close(connection)
                connection = None
                continue
            except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
                await _close(connection)
                connection = None
                if left:
                    left -= 1
                    result.repeated += 1
                    again.append(request)
                else:
                    result.lost += 1
                    left = repeats
                continue
            left = repeats
            result.latency_ms.append((time.perf_counter() - start) * 1e3)
            result.statuses[status] = result.statuses.get(status, 0) + 1
            if keep is not None and keep(status, body):
                result.bodies.append(body)
            if last:
                await _close(connection)
                connection = None
        await _close(connection)

    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = time.perf_counter() - begun
    return result


async def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection[1].close()
        with suppress(OSError):
            await connection[1].wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bool]:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    at = head.index(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r", at)])
    return status, await reader.readexactly(length), b"connection: close" in head

"""What open operator's pages cost a decision, and what a page loads.

The module is the measurement and, with ``python -m``, the program that keeps pages open.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx

from rllib_tactical.bench.load import LoadResult, send_load
from rllib_tactical.bench.measurement import Baseline, Row, single, summarize
from rllib_tactical.bench.requests import numbered
from serve.api.operations import EVENTS, PAGE, PAGE_FILE, VIEW

PAGES: Final = 50
TARGET: Final = 1.05
"""How much longer half of the decisions may take with all pages open."""

SIZE_KB: Final = 300.0
VIEW_MS: Final = 100.0
"""A part of the 300 ms that the page's first paint may take."""

VIEWS: Final = 20
_FIRST_SEED: Final = 50_000_000


def page_rows(
    url: str, holds: Sequence[bytes], requests: int, rounds: int, progress: Callable[[str], None]
) -> Iterator[Row]:
    """Measure decisions without pages and with all of them open, in turns, and a page's size.

    Args:
        url: of a service that asks for no token.
        holds: bodies of ``POST /decide``.
        requests: of each round.
        rounds: how many there are of both.
        progress: called with the name of each measurement before it starts.
    """
    progress(f"{PAGES} open pages")
    bodies = numbered(holds, _FIRST_SEED)
    without: list[LoadResult] = []
    beside: list[LoadResult] = []
    for _ in range(rounds):
        without.append(send_load(url, itertools.islice(bodies, requests), 1))
        with _open_pages(url):
            beside.append(send_load(url, itertools.islice(bodies, requests), 1))
    for share, target in ((0.5, 1.0 / TARGET), (0.95, None)):
        alone = summarize([each.quantile(share) for each in without])
        note = f"{rounds} rounds of {requests} in turns"
        yield Row(
            name=f"decision p{share * 100:g} with {PAGES} pages open",
            unit="ms",
            measurement=summarize([each.quantile(share) for each in beside]),
            higher_is_better=False,
            baselines=(Baseline("no page", alone, note, target),),
        )
    with httpx.Client(base_url=url, trust_env=False, timeout=30.0) as client:
        files = [client.get(path).content for path in (*PAGE.paths, *PAGE_FILE.paths)]
        took = []
        for _ in range(VIEWS):
            begun = time.perf_counter()
            client.get(VIEW.path).raise_for_status()
            took.append(1e3 * (time.perf_counter() - begun))
    yield single("page with all its files", "kB", sum(map(len, files)) / 1e3, SIZE_KB)
    yield Row(
        name="view of 600 bars and 100 decisions",
        unit="ms",
        measurement=summarize(took),
        target=VIEW_MS,
        higher_is_better=False,
    )


@contextmanager
def _open_pages(url: str) -> Iterator[None]:
    """Keep pages open in a process of their own."""
    command = [sys.executable, "-m", __name__, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()  # all of them have got their first events
        try:
            yield
        finally:
            process.stdin.close()


def keep_open(url: str) -> None:
    """Open pages, say so, and read what they are sent until standard input ends."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    head = f"GET {EVENTS.path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
    with selectors.DefaultSelector() as ready:
        for _ in range(PAGES):
            page = socket.create_connection((host, port))
            page.sendall(head)
            ready.register(page, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        silent = PAGES
        seen = set()
        while True:
            for key, _ in ready.select():
                if not isinstance(key.fileobj, socket.socket):
                    return
                if not key.fileobj.recv(1 << 16):
                    raise ConnectionError("the service has ended a page's events")
                if key.fd not in seen:
                    seen.add(key.fd)
                    silent -= 1
                    if not silent:
                        print("open", flush=True)


if __name__ == "__main__":
    keep_open(sys.argv[1])

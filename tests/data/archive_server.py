"""A kline archive on 127.0.0.1, with the faults that a test asks for."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from rllib_tactical.data.binance.archive import Month
from tests.data.tables import walk

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore\n"
)


def month_csv(
    month: Month, *, seconds: int = 300, header: bool = True, micros: bool = False, rows: int = 0
) -> str:
    """Return a month of klines as the archive writes it; all of it, or its first ``rows``."""
    rows = rows or (month.next.start_s - month.start_s) // seconds
    columns = walk(rows, start_s=month.start_s, bar_seconds=seconds, seed=month.month)
    scale = 1_000_000 if micros else 1000
    lines = [
        f"{t * scale},{o!r},{h!r},{low!r},{c!r},{v!r},{(t + seconds) * scale - 1},1.0,7,0.5,0.5,0\n"
        for t, o, h, low, c, v in zip(*(np.asarray(x).tolist() for x in columns.values()))  # noqa: B905
    ]
    return (HEADER if header else "") + "".join(lines)


def zipped(name: str, text: str | bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


@dataclass
class Fault:
    """What happens to the next requests of one path; each is used once, in order.

    ``status`` answers with that code. ``cut`` sends so many bytes of what was promised and hangs
    up; with ``stall`` it holds the line open instead, until the server ends.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    stall: bool = False


@dataclass
class ArchiveServer:
    """``files`` by path below the base; ``requests`` lists (path, Range header or "")."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    url: str = ""
    sent: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, data: bytes, checksum: str | None = None) -> None:
        digest = hashlib.sha256(data).hexdigest() if checksum is None else checksum
        self.files[path] = data
        self.files[f"{path}.CHECKSUM"] = f"{digest}  {path.rpartition('/')[2]}\n".encode()

    def put_month(self, symbol: str, interval: str, month: Month, **options: Any) -> str:
        stem = f"{symbol}-{interval}-{month}"
        path = f"{symbol}/{interval}/{stem}.zip"
        seconds = {"1m": 60, "5m": 300}[interval]
        self.put(path, zipped(f"{stem}.csv", month_csv(month, seconds=seconds, **options)))
        return path

    def asked(self, path: str) -> list[str]:
        """Return the Range headers of the requests for ``path``."""
        return [wanted for requested, wanted in self.requests if requested == path]


@contextmanager
def serve_archive() -> Iterator[ArchiveServer]:
    archive = ArchiveServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/klines/")
            wanted = self.headers.get("Range", "")
            archive.requests.append((path, wanted))
            fault = archive.faults.get(path, [None]).pop(0) if archive.faults.get(path) else None
            if fault is not None and fault.status is not None:
                self._answer(fault.status, b"", fault.headers)
            elif path not in archive.files:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            else:
                self._content(archive.files[path], wanted, fault)

        def _content(self, data: bytes, wanted: str, fault: Fault | None) -> None:
            status, headers, begin = 200, {}, 0
            if wanted and archive.ranges:
                begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if begin >= len(data):
                    return self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                status = 206
                headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self._answer(status, data[begin:], headers, fault)

        def _answer(
            self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            cut = None if fault is None else fault.cut
            self.wfile.write(body if cut is None else body[:cut])
            self.wfile.flush()
            self.close_connection = True
            if fault is not None and fault.stall:
                archive.sent.set()
                archive.release.wait(60)

        def log_message(self, *arguments: Any) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    archive.url = f"http://127.0.0.1:{server.server_address[1]}/klines"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield archive
    finally:
        archive.release.set()
        server.shutdown()
        server.server_close()
        thread.join()

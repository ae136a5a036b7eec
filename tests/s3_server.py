"""A small S3-compatible server on loopback: what pyarrow asks of one, in memory.

``TACTICAL_S3=host:port`` names another server to test against, with any credentials and the bucket
``tactical`` made: a fake proves less than the real thing.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

BUCKET = "tactical"
MODIFIED = "2026-01-01T00:00:00.000Z"


class Store:
    """The objects by key, and the parts of uploads that are not complete."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *arguments: object) -> None:
        pass

    def _split(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).removeprefix("/").removeprefix(BUCKET).lstrip("/"), query

    def _body(self) -> bytes:
        data = self._raw_body()
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        out = b""
        while data:  # size;extensions CRLF chunk CRLF ... 0 CRLF trailers
            head, _, rest = data.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if size == 0:
                break
            out, data = out + rest[:size], rest[size + 2 :]
        return out

    def _raw_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return out

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _xml(self, text: str) -> None:
        self._answer(200, f'<?xml version="1.0"?>{text}'.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        key, query = self._split()
        body, store = self._body(), self.server.store
        with store.lock:
            if "uploadId" in query:
                store.uploads[query["uploadId"]][int(query["partNumber"])] = body
            elif key:
                store.objects[key] = body
        self._answer(200, ETag='"x"')

    def do_POST(self) -> None:
        key, query = self._split()
        body, store = self._body(), self.server.store
        with store.lock:
            if "uploads" in query:
                name = uuid.uuid4().hex
                store.uploads[name] = {}
                self._xml(
                    "<InitiateMultipartUploadResult>"
                    f"<UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
                )
            elif "uploadId" in query:
                parts = store.uploads.pop(query["uploadId"])
                store.objects[key] = b"".join(parts[number] for number in sorted(parts))
                self._xml(
                    '<CompleteMultipartUploadResult><ETag>"x"</ETag>'
                    "</CompleteMultipartUploadResult>"
                )
            else:
                for element in ElementTree.fromstring(body).iter():
                    if element.tag.endswith("Key"):
                        store.objects.pop(element.text or "", None)
                self._xml("<DeleteResult></DeleteResult>")

    def do_DELETE(self) -> None:
        key, _ = self._split()
        with self.server.store.lock:
            self.server.store.objects.pop(key, None)
        self._answer(204)

    def do_HEAD(self) -> None:
        key, _ = self._split()
        data = self.server.store.objects.get(key)
        if key and data is None:
            self._answer(404)
            return
        self._answer(
            200,
            Content_Length=str(len(data or b"")),
            ETag='"x"',
            Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT",
        )

    def do_GET(self) -> None:
        key, query = self._split()
        if not key:
            self._list(query)
            return
        data = self.server.store.objects.get(key)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        wanted = self.headers.get("Range")
        if wanted is None:
            self._answer(200, data, ETag='"x"')
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        stop = min(len(data), int(last) + 1) if last else len(data)
        span = f"bytes {first}-{stop - 1}/{len(data)}"
        self._answer(206, data[int(first) : stop], ETag='"x"', Content_Range=span)

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token", "")
        most = int(query.get("max-keys", "1000"))
        with self.server.store.lock:
            objects = dict(sorted(self.server.store.objects.items()))
        keys = [key for key in objects if key.startswith(prefix) and key > after]
        files, folders = [], []
        for key in keys:
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                if prefix + head + delimiter not in folders:
                    folders.append(prefix + head + delimiter)
            else:
                files.append(key)
        cut, files = files[most:], files[:most]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
            f"<LastModified>{MODIFIED}</LastModified></Contents>"
            for key in files
        )
        rows += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders
        )
        if cut:
            rows += f"<NextContinuationToken>{escape(files[-1])}</NextContinuationToken>"
        self._xml(
            f"<ListBucketResult><IsTruncated>{'true' if cut else 'false'}</IsTruncated>"
            f"<KeyCount>{len(files) + len(folders)}</KeyCount>{rows}</ListBucketResult>"
        )


@contextmanager
def s3_server() -> Iterator[tuple[str, Store | None]]:
    """Yield "host:port" of a server with the bucket, and its store; None of one named outside."""
    named = os.environ.get("TACTICAL_S3")
    if named:
        yield named, None
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.store = Store()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", server.store  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def uri(address: str, key: str) -> str:
    """Return the URI of a key on the server."""
    options = f"scheme=http&endpoint_override={address}&region=us-east-1"
    return f"s3://any:any@{BUCKET}/{key}?{options}"

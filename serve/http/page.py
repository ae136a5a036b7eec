"""The operator's page over HTTP: its files, its view, its events, and what is asked of the past."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, Final

from serve.api.errors import invalid
from serve.api.operations import (
    AUDIT,
    BARS_SHOWN,
    DAY,
    DAY_SHOWN,
    DECISION_ID,
    DECISIONS_SHOWN,
    EVENT_STREAM,
    EVENTS,
    EXPLAIN,
    PAGE,
    PAGE_FILE,
    SYMBOL,
    VIEW,
    Operation,
)
from serve.dashboard.hub import Hub
from serve.dashboard.past import Past
from serve.dashboard.trail import Cursor
from serve.http.asgi import HttpRequest, HttpResponse, StreamResponse, json_response
from serve.http.queries import Queries, given_to, whole_number

Response = HttpResponse | StreamResponse

_KINDS: Final = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "mjs": b"text/javascript; charset=utf-8",
}
_TEXT: Final = b"text/plain; charset=utf-8"

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load: its own files, and nothing from anybody else."""

_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
_STREAM_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))


class PageHandlers:
    """Answers what the operator's page asks.

    Args:
        hub: what is live.
        past: what is read from the journal.
        queries: knows which symbol is meant.
    """

    def __init__(self, hub: Hub, past: Past, queries: Queries) -> None:
        self._hub, self._past, self._queries = hub, past, queries
        folder = files("serve.dashboard").joinpath("static")
        names = ("index.html", *PAGE_FILE.part.names) if PAGE_FILE.part is not None else ()
        self._files = {name: _file(name, folder.joinpath(name).read_bytes()) for name in names}
        self.handlers: Mapping[Operation[Any], Callable[[HttpRequest], Awaitable[Response]]] = {
            PAGE: self._page,
            PAGE_FILE: self._page,
            VIEW: self._view,
            EVENTS: self._events,
            DAY: self._day,
            EXPLAIN: self._explain,
            AUDIT: self._audit,
        }

    async def _page(self, request: HttpRequest) -> HttpResponse:
        response = self._files[request.path.removeprefix("/page/").strip("/") or "index.html"]
        tag = dict(response.headers)[b"etag"]
        if request.headers.get(b"if-none-match") == tag:
            return HttpResponse(b"", 304, response.content_type, response.headers)
        return response

    async def _view(self, request: HttpRequest) -> HttpResponse:
        given = given_to(request, VIEW)
        bars, decisions = whole_number(given, BARS_SHOWN), whole_number(given, DECISIONS_SHOWN)
        return json_response(await self._hub.view(self._queries.symbol(given), bars, decisions))

    async def _events(self, request: HttpRequest) -> StreamResponse:
        given = given_to(request, EVENTS)
        symbol = self._queries.symbol(given) if SYMBOL.name in given else None
        last = request.header(b"last-event-id")
        since = None
        if last:
            since = Cursor.parse(last)
            if since is None:
                raise invalid("last-event-id", "must be the id of an event")
        parts = self._hub.events(symbol, since)
        return StreamResponse(parts, request.receive, EVENT_STREAM.encode(), _STREAM_HEADERS)

    async def _day(self, request: HttpRequest) -> HttpResponse:
        given = given_to(request, DAY)
        return await self._past.day(self._queries.symbol(given), given.get(DAY_SHOWN.name))

    async def _explain(self, request: HttpRequest) -> HttpResponse:
        given = given_to(request, EXPLAIN)
        name = DECISION_ID.name
        if name not in given:
            raise invalid(name, "is required", "missing_field")
        return await self._past.why(given[name])

    async def _audit(self, request: HttpRequest) -> HttpResponse:
        given_to(request, AUDIT)
        return json_response(await self._hub.audit())


def _file(name: str, content: bytes) -> HttpResponse:
    tag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
    kind = _KINDS.get(name.rpartition(".")[2], _TEXT)
    return HttpResponse(content, 200, kind, (*_HEADERS, (b"etag", tag)))

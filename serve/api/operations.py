"""The table of operations: routes, OpenAPI document, client and start message are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from serve.api import experiment, health, page, responses
from serve.api.decide_request import DecideRequest
from serve.api.write_requests import (
    AccountRequest,
    BarsRequest,
    FillsRequest,
    ModelRequest,
    OverrideRequest,
)

STREAM_PATH: Final = "/ws"
"""The WebSocket: each message is a body of ``POST /decide``. OpenAPI has no words for it."""

JSON: Final = "application/json"
PLAIN_TEXT: Final = "text/plain"
HTML: Final = "text/html"
ANY_TEXT: Final = "text/*"
EVENT_STREAM: Final = "text/event-stream"

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A whole number in the query string, within ``minimum`` and ``maximum``."""

    name: str
    minimum: int
    maximum: int
    default: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextParameter:
    """A text of at most ``longest`` characters in the query string, which may be left out."""

    name: str
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathParameter:
    """The last part of a path, one of ``names``."""

    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation(Generic[AnswerT]):
    """One path with its method.

    Args:
        path: such as ``/decide``; where ``part`` says so it ends with a name in braces.
        method: ``GET`` or ``POST``; a path with GET is answered to HEAD too, without the body.
        summary: one line for people.
        answer: type of the body that comes with 200.
        request: type of the request's body, None without one.
        queries: the parameters of the query string.
        statuses: refusals of its own; those of every operation come on top.
        also: statuses besides 200 that come with the answer's body.
        is_open: whether it is answered without a token and to web pages.
        content_type: of the answer.
        part: the last part of the path, None where the path is always the same.
    """

    path: str
    method: str
    summary: str
    answer: type[AnswerT]
    request: type[Struct] | None = None
    queries: tuple[Parameter | TextParameter, ...] = ()
    statuses: tuple[int, ...] = ()
    also: tuple[int, ...] = ()
    is_open: bool = False
    content_type: str = JSON
    part: PathParameter | None = None

    @property
    def name(self) -> str:
        """The ``operationId``, after which generated clients name their functions."""
        plain = self.path.translate(_PLAIN).rstrip("_")
        return f"{self.method.lower()}{plain or '_page'}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that requests have."""
        if self.part is None:
            return (self.path,)
        return tuple(self.path.replace(f"{{{self.part.name}}}", name) for name in self.part.names)

    def refusals(self, token: bool) -> tuple[int, ...]:
        """Return every status other than 200, with or without a ``token`` to be sent."""
        guarded = () if self.is_open else (401 if token else 403,)
        return tuple(sorted({*self.statuses, *guarded, *_EVERYWHERE}))


_PLAIN: Final = str.maketrans({"/": "_", ".": "_", "{": None, "}": None})
_EVERYWHERE: Final = (404, 405, 500)
_READS_BODY: Final = (400, 409, 413, 415, 422)
_WRITES: Final = (*_READS_BODY, 503)

DAYS: Final = Parameter(name="days", minimum=1, maximum=3650, default=30)
STRICT: Final = Parameter(name="strict", minimum=0, maximum=1, default=0)
"""Whether a critical health is answered with 503, for programs that look at the status alone."""

SYMBOL: Final = TextParameter(name="symbol", longest=64)
"""Which symbol is meant; it has to be given when the service has several."""

DECIDE: Final = Operation(
    path="/decide",
    method="POST",
    summary="Votes, decision and order",
    request=DecideRequest,
    answer=responses.DecideAnswer,
    statuses=_READS_BODY,
)
BARS: Final = Operation(
    path="/bars",
    method="POST",
    summary="Accept closed bars",
    request=BarsRequest,
    answer=responses.BarsAnswer,
    statuses=_WRITES,
)
FILLS: Final = Operation(
    path="/fills",
    method="POST",
    summary="Accept the broker's fills",
    request=FillsRequest,
    answer=responses.FillsAnswer,
    statuses=_WRITES,
)
ACCOUNT: Final = Operation(
    path="/account",
    method="POST",
    summary="Reconcile with the broker; deposits, withdrawals, funding",
    request=AccountRequest,
    answer=responses.AccountAnswer,
    statuses=_WRITES,
)
OVERRIDE: Final = Operation(
    path="/admin/override",
    method="POST",
    summary="Pause, resume, flatten, force hold",
    request=OverrideRequest,
    answer=responses.OverrideAnswer,
    statuses=_WRITES,
)
LOAD_MODEL: Final = Operation(
    path="/admin/model",
    method="POST",
    summary="Replace the bundle",
    request=ModelRequest,
    answer=responses.ModelAnswer,
    statuses=_WRITES,
)
PERFORMANCE: Final = Operation(
    path="/performance",
    method="GET",
    summary="Trading metrics from the fills",
    answer=responses.PerformanceAnswer,
    queries=(DAYS, SYMBOL),
    statuses=(422, 503),
)
MODEL: Final = Operation(
    path="/model",
    method="GET",
    summary="The public part of the bundle's manifest",
    answer=responses.ManifestAnswer,
    queries=(SYMBOL,),
    statuses=(422,),
)
EXPERIMENT: Final = Operation(
    path="/experiment",
    method="GET",
    summary="Challengers beside the bundles that decide",
    answer=experiment.ExperimentAnswer,
)
OPENAPI: Final[Operation[dict[str, Any]]] = Operation(
    path="/openapi.json", method="GET", summary="This document", answer=dict
)
HEALTH: Final = Operation(
    path="/health",
    method="GET",
    summary="Components, latencies and alerts",
    answer=health.HealthAnswer,
    queries=(STRICT,),
    statuses=(422,),
    also=(503,),
    is_open=True,
)
LIVE: Final = Operation(
    path="/live",
    method="GET",
    summary="The process answers",
    answer=health.LiveAnswer,
    is_open=True,
)
READY: Final = Operation(
    path="/ready",
    method="GET",
    summary="Decisions rely on a current state",
    answer=health.ReadyAnswer,
    statuses=(503,),
    is_open=True,
)
METRICS: Final = Operation(
    path="/metrics",
    method="GET",
    summary="Prometheus metrics",
    answer=str,
    content_type=PLAIN_TEXT,
    is_open=True,
)

BARS_SHOWN: Final = Parameter(name="bars", minimum=1, maximum=5000, default=600)
DECISIONS_SHOWN: Final = Parameter(name="decisions", minimum=1, maximum=200, default=100)
DAY_SHOWN: Final = TextParameter(name="day", longest=10)
"""A date, such as 2026-03-02; the newest day with bars when it is left out."""

DECISION_ID: Final = TextParameter(name="decision_id", longest=64)
PAGE_FILES: Final = (
    "api.js",
    "app.js",
    "chart.js",
    "controls.js",
    "dom.js",
    "events.js",
    "format.js",
    "lightweight-charts.mjs",
    "monitors.js",
    "NOTICE",
    "panels.js",
    "replay.js",
    "store.js",
    "style.css",
    "why.js",
)

PAGE: Final = Operation(
    path="/",
    method="GET",
    summary="The operator's page",
    answer=str,
    content_type=HTML,
    is_open=True,
)
PAGE_FILE: Final = Operation(
    path="/page/{file}",
    method="GET",
    summary="A file of the operator's page",
    answer=str,
    content_type=ANY_TEXT,
    is_open=True,
    part=PathParameter(name="file", names=PAGE_FILES),
)
VIEW: Final = Operation(
    path="/view",
    method="GET",
    summary="What the page shows of a symbol",
    answer=page.ViewAnswer,
    queries=(SYMBOL, BARS_SHOWN, DECISIONS_SHOWN),
    statuses=(422,),
)
EVENTS: Final = Operation(
    path="/events",
    method="GET",
    summary="Server-sent events of the page; goes on after Last-Event-ID",
    answer=str,
    queries=(SYMBOL,),
    statuses=(422,),
    content_type=EVENT_STREAM,
)
DAY: Final = Operation(
    path="/day",
    method="GET",
    summary="One past day of a symbol",
    answer=page.DayAnswer,
    queries=(SYMBOL, DAY_SHOWN),
    statuses=(422, 503),
)
EXPLAIN: Final = Operation(
    path="/explain",
    method="GET",
    summary="Why a decision is what it is",
    answer=page.WhyAnswer,
    queries=(DECISION_ID,),
    statuses=(404, 422, 503),
)
AUDIT: Final = Operation(
    path="/admin/audit",
    method="GET",
    summary="The newest orders of operators, bundles and corrections",
    answer=page.AuditAnswer,
)

WRITES: Final[tuple[Operation[Any], ...]] = (BARS, FILLS, ACCOUNT, OVERRIDE, LOAD_MODEL)
"""Those that change the state."""

OPERATIONS: Final[tuple[Operation[Any], ...]] = (
    DECIDE,
    *WRITES,
    HEALTH,
    LIVE,
    READY,
    METRICS,
    PERFORMANCE,
    MODEL,
    EXPERIMENT,
    OPENAPI,
    VIEW,
    EVENTS,
    DAY,
    EXPLAIN,
    AUDIT,
    PAGE,
    PAGE_FILE,
)
OPEN_PATHS: Final = frozenset(
    path for operation in OPERATIONS if operation.is_open for path in operation.paths
)


def paths_by_method() -> dict[str, list[str]]:
    """Return the paths of each method, and of the WebSocket as ``WS``."""
    found: dict[str, list[str]] = {}
    for operation in OPERATIONS:
        found.setdefault(operation.method, []).append(operation.path)
    return {**found, "WS": [STREAM_PATH]}

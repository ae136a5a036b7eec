"""The HTTP side: routes, authentication, limits and errors around a ``Decider`` and the state."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import BundleError, ServiceError
from serve.api.decide_request import MAX_BODY_BYTES
from serve.api.errors import RequestError, error_body, invalid
from serve.api.operations import (
    ACCOUNT,
    BARS,
    DAYS,
    DECIDE,
    FILLS,
    HEALTH,
    LIVE,
    LOAD_MODEL,
    METRICS,
    MODEL,
    OPEN_PATHS,
    OPENAPI,
    OPERATIONS,
    OVERRIDE,
    PERFORMANCE,
    READY,
    STREAM_PATH,
    STRICT,
    Operation,
    Parameter,
)
from serve.api.responses import LiveAnswer, ManifestAnswer, ReadyAnswer
from serve.api.write_requests import WriteRequest, read_body
from serve.decision.controller import Controller, caller_of
from serve.decision.deadline import bundle_engine, under_time_limit
from serve.decision.decider import Decided, Decider
from serve.decision.replica import StateReplica
from serve.decision.writer import Reply
from serve.http.asgi import (
    ClientGoneError,
    HttpRequest,
    HttpResponse,
    Receive,
    Scope,
    Send,
    answer_lifespan,
    client_address,
    json_response,
    refuse_stream,
    stream_messages,
)
from serve.http.openapi import openapi_document
from serve.http.security import ADMIN_PATHS, is_authorised, require_local_caller
from serve.journal.record import Caller
from serve.observability.health import CRITICAL, ResourceProbe, StateAge, health_report
from serve.observability.logs import log_to_folder
from serve.observability.metrics import CONTENT_TYPE, Telemetry
from serve.state.opening import StateSettings

_LOG = logging.getLogger(__name__)
Answered = tuple[HttpResponse, Decided | None]
"""An answer, and the decision in it, if any."""

Handler = Callable[[HttpRequest], Awaitable[HttpResponse | Answered]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What a replica needs to start.

    ``telemetry_folder`` is local to the node and made by whichever replica comes first.
    ``token_digest`` is the SHA-256 of the token that requests must carry, None for no token.
    ``admin_digest`` is that of the token that /admin paths need instead, None for the same.
    Logs go to ``log_folder``, None for nowhere.
    """

    performance: PerformanceConfig
    service: ServiceConfig
    telemetry_folder: str
    token_digest: bytes | None = None
    admin_digest: bytes | None = None
    log_folder: str | None = None
    log_level: str = "INFO"


class DecisionApp:
    """The service as an ASGI application. Knows nothing of Ray.

    Args:
        settings: limits and folders.
        state: where the state is.
    """

    def __init__(self, settings: AppSettings, state: StateSettings) -> None:
        folder = Path(settings.telemetry_folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings, self._digest = settings, settings.token_digest
        self._performance, self._service = settings.performance, settings.service
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._replica = StateReplica(state, self._load, settings.service)
        if settings.log_folder is not None:
            log_to_folder(Path(settings.log_folder), f"replica-{name}", settings.log_level)
        self._telemetry = Telemetry(folder)
        self._controller = Controller(
            self._replica, settings.service.lease_s, self._telemetry.record_error
        )
        self._probe = ResourceProbe()
        handlers: dict[Operation[Any], Handler] = {
            DECIDE: self._decide,
            HEALTH: self._health,
            LIVE: self._live,
            READY: self._ready,
            METRICS: self._metrics,
            PERFORMANCE: self._show_performance,
            MODEL: self._model,
            OPENAPI: self._document,
            **{
                write: self._writes(write) for write in (BARS, FILLS, ACCOUNT, OVERRIDE, LOAD_MODEL)
            },
        }
        self._routes: dict[str, dict[str, Handler]] = {}
        for operation in OPERATIONS:
            methods = self._routes.setdefault(operation.path, {})
            methods[operation.method] = handlers[operation]
            if operation.method == "GET":
                methods["HEAD"] = handlers[operation]

    async def start(self) -> None:
        """Get state and bundle; from then on requests can be answered.

        Raises:
            TacticalError: the bundle or the state cannot be used.
        """
        await self._replica.start()

    async def stop(self) -> None:
        """Close the state."""
        await self._replica.stop()

    def check_health(self) -> None:
        """Have this process replaced when only a new start can help.

        Raises:
            ServiceError: that is the case.
        """
        if self._replica.broken:
            raise ServiceError("the state cannot be followed any more")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            request = HttpRequest.of(scope, receive)
            response, decided = await self.handle(request)
            try:
                await response.send(send, without_body=request.method == "HEAD")
            finally:
                # after the answer: no client waits for the counting
                self._count(request.path, response.status, decided)
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        else:
            await answer_lifespan(receive, send)

    async def handle(self, request: HttpRequest) -> Answered:
        """Answer any request; whatever goes wrong becomes a JSON error.

        Returns:
            The answer, and the decision in it if it is one.
        """
        path = request.path
        try:
            found = await self._route(request, path)
            return found if isinstance(found, tuple) else (found, None)
        except RequestError as error:
            response = json_response(error.body(), error.status, _headers_for(error))
        except ClientGoneError:
            response = json_response(
                error_body("client_disconnected", "the request did not end"), 400
            )
        except Exception:
            _LOG.exception(
                "request failed", extra={"fields": {"method": request.method, "path": path}}
            )
            self._telemetry.record_error()
            response = json_response(
                error_body("internal_error", "the service failed; see its log"), 500
            )
        return response, None

    def _count(self, path: str, status: int, decided: Decided | None) -> None:
        known = path in self._routes or path == STREAM_PATH
        try:
            if decided is not None:
                self._telemetry.record_decision(decided)
            self._telemetry.record_request(path if known else "other", status)
        except Exception:
            # the answer has been sent: a full disk must not turn it into an error
            _LOG.exception("an answer was not counted")

    async def _route(self, request: HttpRequest, path: str) -> HttpResponse | Answered:
        digest = self._digest
        if path.startswith(ADMIN_PATHS):
            digest = self._settings.admin_digest or digest
        if path not in OPEN_PATHS and not is_authorised(request.header(b"authorization"), digest):
            raise RequestError(401, "unauthorised", "a valid bearer token is required")
        if path not in OPEN_PATHS and self._digest is None:
            require_local_caller(request.headers)
        methods = self._routes.get(path)
        if methods is None:
            known = ", ".join(sorted(self._routes))
            raise RequestError(404, "unknown_path", f"no such path; there are {known}")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            raise MethodError(allowed, request.method)
        return await handler(request)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer each message of a WebSocket as ``POST /decide`` answers a body."""
        headers = dict(scope["headers"])
        token = headers.get(b"authorization", b"").decode("latin-1") or None
        try:
            if scope["path"] != STREAM_PATH or not is_authorised(token, self._digest):
                raise RequestError(401, "unauthorised", "a valid bearer token is required")
            if self._digest is None:
                require_local_caller(headers)
        except RequestError:
            await refuse_stream(receive, send)
            return
        caller = caller_of(headers, client_address(scope))
        async for message in stream_messages(receive, send, MAX_BODY_BYTES):
            decided = None
            try:
                response, decided = await self._decided(message, caller)
            except RequestError as error:
                response = json_response(error.body(), error.status)
            except Exception:
                _LOG.exception("request failed", extra={"fields": {"path": STREAM_PATH}})
                self._telemetry.record_error()
                response = json_response(
                    error_body("internal_error", "the service failed; see its log"), 500
                )
            try:
                await send({"type": "websocket.send", "text": response.body.decode()})
            finally:
                self._count(STREAM_PATH, response.status, decided)

    async def _decide(self, request: HttpRequest) -> Answered:
        body = await request.body(MAX_BODY_BYTES)
        return await self._decided(body, caller_of(request.headers, request.address))

    async def _decided(self, body: bytes, caller: Caller) -> Answered:
        decided = await self._controller.answer(body, caller)
        _log_decision(decided)  # before it is sent: every answer has its line
        return json_response(decided.answer), decided

    def _writes(self, operation: Operation[Any]) -> Handler:
        kind: Any = operation.request
        limit_s = self._service.write_timeout_s
        if operation is LOAD_MODEL:
            limit_s += self._service.reload_timeout_s

        async def handler(request: HttpRequest) -> HttpResponse:
            body: WriteRequest = read_body(await request.body(MAX_BODY_BYTES), kind)
            return await self._ask(self._controller.write(body), limit_s)

        return handler

    async def _show_performance(self, request: HttpRequest) -> HttpResponse:
        days = _whole_number(request, DAYS)
        return await self._ask(
            self._replica.writer.performance(days), self._service.write_timeout_s
        )

    async def _ask(self, question: Awaitable[Reply], limit_s: float) -> HttpResponse:
        try:
            status, body = await asyncio.wait_for(question, limit_s)
        except TimeoutError:
            _LOG.error("the state did not answer", extra={"fields": {"limit_s": limit_s}})
            return _unavailable("the state did not answer in time; try again")
        return HttpResponse(body, status)

    async def _health(self, request: HttpRequest) -> HttpResponse:
        strict = _whole_number(request, STRICT)
        active, now_s = self._replica.active(), time.time()
        bundle, availability = active.decider.bundle, self._replica.availability
        report = health_report(
            now_s,
            self._probe.read(),
            self._telemetry.recent(),
            self._performance,
            bundle.bundle_id,
            bundle.rules.risk.session_drawdown_limit,
            active.state,
            await self._replica.scores(),
            StateAge(
                state_age_s=availability.age_s,
                lost=not availability.ok,
                bars_overdue_s=active.state.market_age_s(now_s, bundle.bar_seconds),
            ),
            self._replica.recorder.health,
        )
        return json_response(report, 503 if strict and report.status == CRITICAL else 200)

    async def _live(self, request: HttpRequest) -> HttpResponse:
        return json_response(LiveAnswer())

    async def _ready(self, request: HttpRequest) -> HttpResponse:
        hold = self._replica.active().hold
        if hold is None and self._replica.availability.ok:
            return json_response(ReadyAnswer())
        if hold is Reason.MODEL_LOADING:
            return json_response(
                error_body(hold.code, "the chosen bundle is being loaded: decisions hold"), 503
            )
        return _unavailable("the state cannot be read or written: decisions hold")

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        _, accuracy = await self._replica.scores()
        self._telemetry.show_state(
            self._replica.active().state.positions, accuracy, self._replica.machine.trades
        )
        return HttpResponse(self._telemetry.scrape(), content_type=CONTENT_TYPE.encode())

    async def _model(self, request: HttpRequest) -> HttpResponse:
        bundle = self._replica.active().decider.bundle
        return json_response(public_manifest(bundle, self._performance))

    async def _document(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(openapi_document(self._digest is not None))

    def _load(self, path: str, bundle_id: str) -> Decider:
        """Return a warm decider of the bundle at ``path``.

        Raises:
            UnreadableError: the bundle is not there.
            BundleError: it cannot be used, or is another one.
        """
        bundle = load_bundle(Path(path))
        if bundle.bundle_id != bundle_id:
            raise BundleError(
                f"bundle {bundle_id[:12]} was chosen, {path} now holds {bundle.bundle_id[:12]}"
            )
        engine = bundle_engine(bundle)
        Decider(bundle, self._performance, engine).warm_up()
        # after warm-up: the first run takes longer than the limit of the others
        limited = under_time_limit(engine, self._service.inference_timeout_ms / 1e3)
        return Decider(bundle, self._performance, limited)


def _whole_number(request: HttpRequest, parameter: Parameter) -> int:
    """Return the only parameter of a request's query.

    Raises:
        RequestError: 422 when it is no whole number within its limits.
    """
    name, least, most = parameter.name, parameter.minimum, parameter.maximum
    text = request.query((name,)).get(name, str(parameter.default))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else least - 1
    if not least <= number <= most:
        raise invalid(name, f"must be a whole number in {least}..{most}, found {text}")
    return number


def _unavailable(message: str) -> HttpResponse:
    return json_response(error_body("state_unavailable", message), 503)


def _log_decision(decided: Decided) -> None:
    level = logging.WARNING if decided.breaches or decided.fallback else logging.INFO
    if not _LOG.isEnabledFor(level):
        return
    answer = decided.answer
    fields: dict[str, Any] = {
        "decision_id": answer.decision_id,
        "bundle_id": answer.bundle_id,
        "source": answer.source,
        "action": answer.decision.action,
        "reason": answer.decision.reason,
        "confidence": answer.decision.confidence,
        "total_ms": answer.timing.total_ms,
    }
    if decided.breaches:
        fields["over_budget"] = decided.breaches
    _LOG.log(level, "decision", extra={"fields": fields})


class MethodError(RequestError):
    """A known path, asked with a method that it does not have."""

    def __init__(self, allowed: str, found: str) -> None:
        super().__init__(405, "method_not_allowed", f"the method must be {allowed}, found {found}")
        self.allowed = allowed


def public_manifest(bundle: Bundle, performance: PerformanceConfig) -> ManifestAnswer:
    """Return the part of a bundle's manifest that ``GET /model`` shows, and the targets."""
    more: dict[str, Any] = {"size_from": bundle.size_from, "performance": to_dict(performance)}
    shown = {
        name: bundle.manifest[name] for name in ManifestAnswer.__struct_fields__ if name not in more
    }
    return ManifestAnswer(**shown, **more)


def _headers_for(error: RequestError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, MethodError):
        return ((b"allow", error.allowed.encode()),)
    return ((b"www-authenticate", b"Bearer"),) if error.status == 401 else ()

"""The HTTP side: routes, authentication, limits and errors around a ``Decider`` and the state."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rllib_tactical.errors import ServiceError
from serve.api.decide_request import MAX_BODY_BYTES
from serve.api.errors import RequestError, error_body
from serve.api.operations import (
    DECIDE,
    LOAD_MODEL,
    OPEN_PATHS,
    OPERATIONS,
    STREAM_PATH,
    WRITES,
    Operation,
)
from serve.api.write_requests import ModelRequest, OverrideRequest, WriteRequest, read_body
from serve.bus.status import BusStatus
from serve.dashboard.hub import Hub
from serve.dashboard.past import Past
from serve.decision.controller import Controller, caller_of
from serve.decision.decider import Decided
from serve.decision.loading import load_decider
from serve.decision.replica import StateReplica
from serve.http.asgi import (
    ClientGoneError,
    HttpRequest,
    HttpResponse,
    Receive,
    Scope,
    Send,
    StreamResponse,
    answer_lifespan,
    client_address,
    json_response,
    refuse_stream,
    stream_messages,
)
from serve.http.asking import ask
from serve.http.page import PageHandlers
from serve.http.queries import Queries
from serve.http.security import (
    ADMIN_PATHS,
    is_authorised,
    require_local_caller,
    require_same_site,
)
from serve.http.settings import AppSettings
from serve.journal.record import Caller
from serve.observability.logs import log_to_folder
from serve.observability.metrics import FLUSH_S, Telemetry
from serve.state.opening import StateSettings

if TYPE_CHECKING:
    from serve.bus.consumer import BusConsumer

_LOG = logging.getLogger(__name__)
Response = HttpResponse | StreamResponse
Answered = tuple[Response, Decided | None]
"""An answer, and the decision in it, if any."""

Handler = Callable[[HttpRequest], Awaitable[Response | Answered]]


class DecisionApp:
    """The service as an ASGI application. Knows nothing of Ray.

    ``bus`` reads the bus for this process, None without one.

    Args:
        settings: limits and folders.
        state: where the state is.
    """

    def __init__(self, settings: AppSettings, state: StateSettings) -> None:
        folder = Path(settings.telemetry_folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings, self._digest = settings, settings.token_digest
        self._token_name = None if settings.token_digest is None else settings.token_name
        self._service = service = settings.service
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        load = partial(load_decider, performance=settings.performance, service=service)
        self._replica = StateReplica(state, load, service)
        if settings.log_folder is not None:
            log_to_folder(Path(settings.log_folder), f"replica-{name}", settings.log_level)
        self._telemetry = Telemetry(folder)
        self._controller = Controller(
            self._replica, service.lease_s, self._telemetry.record_error, service.live_bars
        )
        self._queries = Queries(
            settings, self._replica, self._telemetry, Path(state.folder), self._bus_status
        )
        self._flushing: asyncio.TimerHandle | None = None
        self.bus: BusConsumer | None = None
        if settings.bus is not None:
            from serve.bus.consumer import BusConsumer  # only where it is used: an extra

            self.bus = BusConsumer(
                settings.bus, self._controller, self._queries.health, self._count_of_bus
            )
        self._hub = Hub(
            self._replica, self._queries.health, self._queries.monitors, self._digest is not None
        )
        pages = PageHandlers(self._hub, Past(state.store), self._queries)
        handlers: Mapping[Operation[Any], Handler] = {
            DECIDE: self._decide,
            **self._queries.handlers,
            **pages.handlers,
            **{write: self._writes(write) for write in WRITES},
        }
        self._routes: dict[str, dict[str, Handler]] = {}
        for operation in OPERATIONS:
            for path in operation.paths:
                methods = self._routes.setdefault(path, {})
                methods[operation.method] = handlers[operation]
                if operation.method == "GET":
                    methods["HEAD"] = handlers[operation]

    async def start(self) -> None:
        """Get state and bundle; from then on requests can be answered.

        Raises:
            TacticalError: the bundle or the state cannot be used.
        """
        await self._replica.start()
        if self.bus is not None:
            self.bus.start()

    def end_streams(self) -> None:
        """End the events of open pages: their connections would keep the listener from ending."""
        self._hub.stop()

    async def stop(self) -> None:
        """Leave the bus and close the state."""
        self.end_streams()
        if self.bus is not None:
            await self.bus.stop()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()
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
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        """Write what was counted, see ``Telemetry.flush``."""
        self._flushing = None
        try:
            lost = self._replica.recorder.health.lost
            self._telemetry.record_totals(lost, self._replica.load_failures)
            self._telemetry.flush()
        except Exception:
            _LOG.exception("answers were not counted")

    def _count_of_bus(self, outcome: str, decided: Decided | None) -> None:
        try:
            self._telemetry.record_bus(outcome)
            if decided is not None:
                _log_decision(decided)
                self._telemetry.record_decision(decided)
        except Exception:
            # the entry has been answered: a full disk must not turn it into an error
            _LOG.exception("an entry of the bus was not counted")
        self._flush_soon()

    def _bus_status(self) -> BusStatus | None:
        return None if self.bus is None else self.bus.status

    async def _route(self, request: HttpRequest, path: str) -> Response | Answered:
        if path not in OPEN_PATHS:
            self._require_access(request, path)
        methods = self._routes.get(path)
        if methods is None:
            known = ", ".join(sorted({operation.path for operation in OPERATIONS}))
            raise RequestError(404, "unknown_path", f"no such path; there are {known}")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            raise MethodError(allowed, request.method)
        return await handler(request)

    def _require_access(self, request: HttpRequest, path: str) -> None:
        """Refuse who may not ask: an operator may read what a client may, not decide.

        Raises:
            RequestError: 401 without the token, 403 for web pages that are not the service's.
        """
        own, admin = self._digest, self._settings.admin_digest or self._digest
        accepted: tuple[bytes | None, ...] = (own,)
        if path.startswith(ADMIN_PATHS):
            accepted = (admin,)
            require_same_site(request.headers)
        elif request.method in ("GET", "HEAD"):
            accepted = (own, admin)
        header = request.header(b"authorization")
        if not any([is_authorised(header, digest) for digest in accepted]):
            raise RequestError(401, "unauthorised", "a valid bearer token is required")
        if own is None:
            require_local_caller(request.headers)

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
        caller = caller_of(headers, client_address(scope), self._token_name)
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
        return await self._decided(
            body, caller_of(request.headers, request.address, self._token_name)
        )

    async def _decided(self, body: bytes, caller: Caller) -> tuple[HttpResponse, Decided]:
        decided = await self._controller.answer(body, caller)
        _log_decision(decided)  # before it is sent: every answer has its line
        return json_response(decided.answer), decided

    def _operator(self, request: HttpRequest) -> str:
        """Return who gives an order, where the request does not say it."""
        settings = self._settings
        name = self._token_name if settings.admin_digest is None else settings.admin_name
        return f"{name or 'somebody'} from {request.address or 'nowhere known'}"

    def _writes(self, operation: Operation[Any]) -> Handler:
        kind: Any = operation.request
        limit_s = self._service.write_timeout_s
        if operation is LOAD_MODEL:
            limit_s += self._service.reload_timeout_s

        async def handler(request: HttpRequest) -> HttpResponse:
            body: WriteRequest = read_body(await request.body(MAX_BODY_BYTES), kind)
            if isinstance(body, (OverrideRequest, ModelRequest)) and not body.by:
                body = replace(body, by=self._operator(request))
            response = await ask(self._controller.write(body), limit_s)
            self._telemetry.record_write(operation.path, failed=response.status >= 500)
            return response

        return handler


def _log_decision(decided: Decided) -> None:
    warns = decided.breaches or decided.fallback or decided.answer.warnings
    level = logging.WARNING if warns else logging.INFO
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
    if answer.warnings:
        fields["warnings"] = answer.warnings
    _LOG.log(level, "decision", extra={"fields": fields})


class MethodError(RequestError):
    """A known path, asked with a method that it does not have."""

    def __init__(self, allowed: str, found: str) -> None:
        super().__init__(405, "method_not_allowed", f"the method must be {allowed}, found {found}")
        self.allowed = allowed


def _headers_for(error: RequestError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, MethodError):
        return ((b"allow", error.allowed.encode()),)
    return ((b"www-authenticate", b"Bearer"),) if error.status == 401 else ()

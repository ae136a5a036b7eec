"""The HTTP side: one Serve deployment that reads the request, decides and answers.

Everything happens in the replica that took the request. Handing the decision to another deployment
would cost about 2 ms a hop, several times the decision itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from ray import serve as ray_serve
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rllib_tactical.bundle import load_bundle
from rllib_tactical.config import PerformanceConfig, to_dict
from rllib_tactical.errors import BundleError
from serve.decider import Decider
from serve.errors import RequestError, error_body
from serve.health import ResourceProbe, health_report
from serve.schemas import MAX_BODY_BYTES
from serve.security import OPEN_PATHS, is_authorised
from serve.telemetry import CONTENT_TYPE, Telemetry

_LOG = logging.getLogger("ray.serve")
_JSON: Final = "application/json"
_ENCODE: Final = msgspec.json.Encoder().encode
PUBLIC_MANIFEST: Final = (
    "format_version",
    "bundle_id",
    "parent",
    "feature_spec",
    "feature_hash",
    "rules",
    "rules_hash",
    "instrument",
    "bar_seconds",
    "temperature_scale",
    "metrics",
    "git_commit",
    "versions",
)
"""What ``GET /model`` shows: the manifest without file names and the training's own settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What a replica needs to start.

    ``bundle_id`` is the bundle that was verified when the service started; a replica that finds
    another one in the folder refuses to start. ``telemetry_folder`` is local to the node and made
    by whichever replica comes first.
    ``token_digest`` is the SHA-256 of the token that requests must carry, None for no token.
    """

    bundle_path: str
    bundle_id: str
    performance: PerformanceConfig
    telemetry_folder: str
    token_digest: bytes | None = None


class DecisionApp:
    """Routes, authentication, limits and errors around a ``Decider``. Knows nothing of Ray.

    Raises:
        UnreadableError: the bundle is not there.
        BundleError: the bundle cannot be used, or is not the one the service was started with.
    """

    def __init__(self, settings: AppSettings) -> None:
        folder = Path(settings.telemetry_folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._digest = settings.token_digest
        self._performance = settings.performance
        bundle = load_bundle(Path(settings.bundle_path))
        if bundle.bundle_id != settings.bundle_id:
            raise BundleError(
                f"the service was started with bundle {settings.bundle_id[:12]}, "
                f"{settings.bundle_path} now holds {bundle.bundle_id[:12]}"
            )
        self._decider = Decider(bundle, settings.performance)
        self._decider.warm_up()
        self._telemetry = Telemetry(folder)
        self._probe = ResourceProbe()
        self._routes: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
            "/decide": {"POST": self._decide},
            "/health": {"GET": self._health},
            "/metrics": {"GET": self._metrics},
            "/model": {"GET": self._model},
        }

    async def handle(self, request: Request) -> Response:
        """Answer any request; whatever goes wrong becomes a JSON error."""
        path = request.url.path
        try:
            response = await self._route(request, path)
        except RequestError as error:
            response = _json(error.body(), error.status, _headers_for(error))
        except ClientDisconnect:
            response = _json(error_body("client_disconnected", "the request did not end"), 400)
        except Exception:
            _LOG.exception("the request failed inside the service: %s %s", request.method, path)
            self._telemetry.record_error()
            response = _json(error_body("internal_error", "the service failed; see its log"), 500)
        endpoint = path if path in self._routes else "other"
        self._telemetry.record_request(endpoint, response.status_code)
        return response

    async def _route(self, request: Request, path: str) -> Response:
        if path not in OPEN_PATHS and not is_authorised(
            request.headers.get("authorization"), self._digest
        ):
            raise RequestError(401, "unauthorised", "a valid bearer token is required")
        methods = self._routes.get(path)
        if methods is None:
            known = ", ".join(sorted(self._routes))
            raise RequestError(404, "unknown_path", f"no such path; there are {known}")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            raise MethodError(allowed, request.method)
        return await handler(request)

    async def _decide(self, request: Request) -> Response:
        answer = self._decider.answer(await _read_body(request))
        self._telemetry.record_decision(answer)
        if answer.breaches:
            _LOG.warning(
                "over the latency budget in %s: %s",
                ", ".join(answer.breaches),
                answer.body["decision_id"],
            )
        return _json(answer.body)

    async def _health(self, request: Request) -> Response:
        report = health_report(
            time.time(),
            self._probe.read(),
            self._telemetry.recent(),
            self._performance,
            self._decider.bundle.bundle_id,
            self._decider.active_positions(),
        )
        return _json(report)

    async def _metrics(self, request: Request) -> Response:
        return Response(self._telemetry.scrape(), headers={"content-type": CONTENT_TYPE})

    async def _model(self, request: Request) -> Response:
        return _json(public_manifest(self._decider.bundle.manifest, self._performance))


class MethodError(RequestError):
    """A known path, asked with a method that it does not have."""

    def __init__(self, allowed: str, found: str) -> None:
        super().__init__(405, "method_not_allowed", f"the method must be {allowed}, found {found}")
        self.allowed = allowed


def public_manifest(manifest: Mapping[str, Any], performance: PerformanceConfig) -> dict[str, Any]:
    """Return the part of a bundle's manifest that ``GET /model`` shows, and the latency budgets."""
    shown = {key: manifest[key] for key in PUBLIC_MANIFEST}
    return {**shown, "performance": to_dict(performance)}


async def _read_body(request: Request) -> bytes:
    """Return the body, reading no more of it than is allowed.

    Raises:
        RequestError: 413 over the limit, 415 for a compressed body.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise RequestError(
            415, "unsupported_encoding", f"content-encoding must be identity, found {encoding}"
        )
    too_large = RequestError(
        413, "body_too_large", f"the body must be at most {MAX_BODY_BYTES} bytes"
    )
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdecimal()) or int(declared[:20]) > MAX_BODY_BYTES:
        raise too_large
    parts, total = [], 0
    async for part in request.stream():
        total += len(part)
        if total > MAX_BODY_BYTES:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _headers_for(error: RequestError) -> dict[str, str]:
    if isinstance(error, MethodError):
        return {"allow": error.allowed}
    return {"www-authenticate": "Bearer"} if error.status == 401 else {}


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_ENCODE(body), status_code=status, media_type=_JSON, headers=headers)


class DecisionReplica:
    """What Serve runs: one ``DecisionApp`` per replica."""

    def __init__(self, settings: AppSettings) -> None:
        self._app = DecisionApp(settings)

    async def __call__(self, request: Request) -> Response:
        """Answer one HTTP request."""
        return await self._app.handle(request)


decision_deployment: Final = ray_serve.deployment(
    name="decision", max_ongoing_requests=1000, graceful_shutdown_timeout_s=10
)(DecisionReplica)

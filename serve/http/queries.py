"""The answers to GET: health, readiness, metrics, performance, the bundle, the document."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.types import Reason
from serve.api.alerts import AlertCode
from serve.api.errors import error_body, invalid
from serve.api.experiment import ExperimentAnswer
from serve.api.health import HealthAnswer, LiveAnswer, ReadyAnswer
from serve.api.operations import (
    DAYS,
    EXPERIMENT,
    HEALTH,
    LIVE,
    METRICS,
    MODEL,
    OPENAPI,
    PERFORMANCE,
    READY,
    STRICT,
    SYMBOL,
    Operation,
    Parameter,
)
from serve.api.page import MonitorsAnswer, PageDrift
from serve.api.responses import NO_ACCURACY, ManifestAnswer
from serve.bus.status import BusStatus
from serve.decision.replica import StateReplica
from serve.drift.alerts import drift_alerts, drift_of
from serve.drift.status import DriftReader
from serve.experiment.metrics import experiment_metrics
from serve.experiment.status import ExperimentReader, experiment_alerts, stale_alerts
from serve.http.asgi import HttpRequest, HttpResponse, json_response
from serve.http.asking import ask, unavailable
from serve.http.openapi import openapi_document
from serve.http.settings import AppSettings
from serve.observability.gauges import ReplicaView, StateCollector, SymbolView
from serve.observability.health import (
    CRITICAL,
    StateAge,
    decisions_overdue_s,
    health_report,
)
from serve.observability.latency_window import Recent
from serve.observability.metrics import CONTENT_TYPE, Telemetry
from serve.observability.resources import ResourceProbe, Resources
from serve.observability.several import (
    alert_levels,
    combined,
    rollback_alerts,
    service_alerts,
)


class Queries:
    """Answers what asks and changes nothing.

    Args:
        settings: limits and folders.
        replica: the state and what decides on it.
        telemetry: counts and latencies.
        folder: of the state on this machine.
        bus: returns how the bus is, None without one.
    """

    def __init__(
        self,
        settings: AppSettings,
        replica: StateReplica,
        telemetry: Telemetry,
        folder: Path,
        bus: Callable[[], BusStatus | None] = lambda: None,
    ) -> None:
        self._replica, self._telemetry, self._bus = replica, telemetry, bus
        self._performance, self._service = settings.performance, settings.service
        self._needs_token = settings.token_digest is not None
        self._probe = ResourceProbe(folder)
        self._drift, self._shadow = DriftReader(folder), ExperimentReader(folder)
        self.handlers: Mapping[Operation[Any], Callable[[HttpRequest], Awaitable[HttpResponse]]] = {
            HEALTH: self._health,
            LIVE: self._live,
            READY: self._ready,
            METRICS: self._metrics,
            PERFORMANCE: self._show_performance,
            MODEL: self._model,
            EXPERIMENT: self._show_experiment,
            OPENAPI: self._document,
        }

    async def _show_performance(self, request: HttpRequest) -> HttpResponse:
        given = given_to(request, PERFORMANCE)
        days = whole_number(given, DAYS)
        question = self._replica.writer.performance(days, self.symbol(given))
        return await ask(question, self._service.write_timeout_s)

    async def _health(self, request: HttpRequest) -> HttpResponse:
        strict = whole_number(given_to(request, HEALTH), STRICT)
        report = await self.health()
        return json_response(report, 503 if strict and report.status == CRITICAL else 200)

    async def health(self) -> HealthAnswer:
        """Return the answer of ``GET /health``."""
        report = combined(await self._reports(self._probe.read()), self._replica.machine)
        alerts, found = drift_alerts(self._drift.read(), self._deciding()), self._experiment()
        several = len(self._replica.symbols) > 1
        for symbol in self._replica.symbols:
            alerts += rollback_alerts(self._replica.machine, symbol, several)
            alerts += experiment_alerts(found, symbol, several)
        alerts += stale_alerts(found, time.time())
        return msgspec.structs.replace(report, alerts=[*report.alerts, *alerts])

    async def _reports(self, resources: Resources) -> dict[str, HealthAnswer]:
        """Return the health of each symbol, without drift."""
        now_s, availability = time.time(), self._replica.availability
        recent, reports = self._telemetry.recent(), {}
        for symbol, active in self._replica.all_active().items():
            bundle = active.decider.bundle
            reports[symbol] = health_report(
                now_s,
                resources,
                recent,
                self._performance,
                bundle.bundle_id,
                bundle.rules.risk.session_drawdown_limit,
                active.state,
                (await self._replica.scores(symbol)).get(bundle.bundle_id, (0, NO_ACCURACY)),
                StateAge(
                    state_age_s=availability.age_s,
                    lost=not availability.ok,
                    bars_overdue_s=active.state.market_age_s(now_s, bundle.bar_seconds),
                    decisions_overdue_s=self._decisions_overdue_s(bundle, recent, now_s),
                ),
                self._replica.recorder.health,
                self._bus(),
            )
        return reports

    async def _alert_levels(self, resources: Resources) -> dict[tuple[AlertCode, str], int]:
        drift, reports = self._drift.read(), await self._reports(resources)
        found = self._experiment()
        for symbol, bundle_id in self._deciding().items():
            alerts = [
                *reports[symbol].alerts,
                *drift_alerts(drift, {symbol: bundle_id}),
                *rollback_alerts(self._replica.machine, symbol),
                *experiment_alerts(found, symbol),
            ]
            reports[symbol] = msgspec.structs.replace(reports[symbol], alerts=alerts)
        others = [*service_alerts(self._replica.machine), *stale_alerts(found, time.time())]
        return alert_levels(reports, others)

    def _experiment(self) -> ExperimentAnswer:
        """Return what is known of the challengers of the bundles that decide."""
        return self._shadow.read(self._replica.machine)

    def monitors(self) -> MonitorsAnswer:
        """Return what is watched beside the decisions, for the operator's page."""
        found, deciding = self._drift.read(), self._deciding()
        drifts = {symbol: drift_of(found, symbol, name) for symbol, name in deciding.items()}
        return MonitorsAnswer(
            drift={
                symbol: PageDrift(
                    profile=drift.profile,
                    sessions=drift.sessions,
                    alarms=drift.alarms,
                    ratios=drift.ratios,
                    words=drift.words,
                )
                for symbol, drift in drifts.items()
                if drift is not None
            },
            experiment=self._experiment(),
        )

    async def _show_experiment(self, request: HttpRequest) -> HttpResponse:
        return json_response(self._experiment())

    def _deciding(self) -> dict[str, str]:
        active = self._replica.all_active()
        return {symbol: each.decider.bundle.bundle_id for symbol, each in active.items()}

    def _decisions_overdue_s(self, bundle: Bundle, recent: Recent, now_s: float) -> float | None:
        if not self._service.live_bars:
            return None  # in a replay nothing depends on the clock
        last_s = recent.last_decision_s
        return decisions_overdue_s(last_s, now_s, bundle.instrument, bundle.bar_seconds)

    async def _live(self, request: HttpRequest) -> HttpResponse:
        return json_response(LiveAnswer())

    async def _ready(self, request: HttpRequest) -> HttpResponse:
        holds = [active.hold for active in self._replica.all_active().values()]
        if all(hold is None for hold in holds) and self._replica.availability.ok:
            return json_response(ReadyAnswer())
        if Reason.STATE_UNAVAILABLE not in holds and Reason.MODEL_LOADING in holds:
            return json_response(
                error_body(
                    Reason.MODEL_LOADING.code, "the chosen bundle is being loaded: decisions hold"
                ),
                503,
            )
        return unavailable("the state cannot be read or written: decisions hold")

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        availability, journal = self._replica.availability, self._replica.recorder.health
        self._telemetry.record_totals(journal.lost, self._replica.load_failures)
        views, holds, machine = [], [], self._replica.machine
        resources = self._probe.read()
        for symbol, active in self._replica.all_active().items():
            scores, bundle = await self._replica.scores(symbol), active.decider.bundle
            holds.append(active.hold)
            views.append(
                SymbolView(
                    symbol=symbol,
                    bundle_id=bundle.bundle_id,
                    state=active.state,
                    drawdown_limit=bundle.rules.risk.session_drawdown_limit,
                    bars_overdue_s=active.state.market_age_s(time.time(), bundle.bar_seconds),
                    trades=machine.symbols[symbol].trades,
                    accuracy={bundle_id: share for bundle_id, (_, share) in scores.items()},
                    drift=drift_of(self._drift.read(), symbol, bundle.bundle_id),
                )
            )
        replica = ReplicaView(
            state_age_s=availability.age_s,
            state_available=availability.ok,
            model_loading=Reason.MODEL_LOADING in holds,
            waiting=journal.waiting,
            resources=resources,
            alerts=await self._alert_levels(resources),
        )
        more = experiment_metrics(self._experiment(), time.time())
        text = self._telemetry.scrape(StateCollector(replica, views, machine, self._bus(), more))
        return HttpResponse(text, content_type=CONTENT_TYPE.encode())

    async def _model(self, request: HttpRequest) -> HttpResponse:
        symbol = self.symbol(given_to(request, MODEL))
        bundle = self._replica.active(symbol).decider.bundle
        return json_response(public_manifest(bundle, self._performance))

    async def _document(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(openapi_document(self._needs_token))

    def symbol(self, given: Mapping[str, str]) -> str:
        """Return the symbol that a query is about.

        Raises:
            RequestError: 422 when it is not served, or left out where there are several.
        """
        known = list(self._replica.symbols)
        names = ", ".join(map(repr, known))
        symbol = given.get(SYMBOL.name, known[0] if len(known) == 1 else None)
        if symbol is None:
            raise invalid(SYMBOL.name, f"is required, one of {names}", "missing_field")
        if symbol not in known:
            text = f"must be one of {names}, found {symbol!r}"
            raise invalid(SYMBOL.name, text, "wrong_symbol")
        return symbol


def public_manifest(bundle: Bundle, performance: PerformanceConfig) -> ManifestAnswer:
    """Return the part of a bundle's manifest that ``GET /model`` shows, and the targets."""
    more: dict[str, Any] = {"size_from": bundle.size_from, "performance": to_dict(performance)}
    shown = {
        name: bundle.manifest[name] for name in ManifestAnswer.__struct_fields__ if name not in more
    }
    return ManifestAnswer(**shown, **more)


def given_to(request: HttpRequest, operation: Operation[Any]) -> dict[str, str]:
    """Return the parameters of a request's query.

    Raises:
        RequestError: see ``HttpRequest.query``.
    """
    return request.query(tuple(query.name for query in operation.queries))


def whole_number(given: Mapping[str, str], parameter: Parameter) -> int:
    """Return a parameter of a query.

    Raises:
        RequestError: 422 when it is no whole number within its limits.
    """
    name, least, most = parameter.name, parameter.minimum, parameter.maximum
    text = given.get(name, str(parameter.default))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else least - 1
    if not least <= number <= most:
        raise invalid(name, f"must be a whole number in {least}..{most}, found {text}")
    return number

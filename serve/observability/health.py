"""The health report: components, latencies and alerts; the worst component gives the status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.calendar.sessions import next_bar_s
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.types import AGENTS, FloatArray, Instrument
from serve.api.alerts import AlertCode
from serve.api.health import (
    AgentsHealth,
    Alert,
    BusHealth,
    Components,
    HealthAnswer,
    Latency,
    ModelsHealth,
    PipelineHealth,
    ResourcesHealth,
    ServiceMetrics,
    Severity,
    StageLatency,
    Status,
    StoreHealth,
    StreamsHealth,
)
from serve.api.responses import Accuracy
from serve.bus.status import BusStatus
from serve.decision.risk_state import RiskState
from serve.journal.recorder import JournalHealth
from serve.observability.latency_window import Recent
from serve.observability.resources import Resources

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
CRITICAL: Final = "critical"
_ORDER: Final[tuple[Status, ...]] = (HEALTHY, DEGRADED, CRITICAL)

LIMITS: Final = {
    "cpu_percent": (80.0, 95.0),
    "memory_percent": (85.0, 95.0),
    "disk_percent": (85.0, 95.0),
    "latency_p95_ms": (100.0, 200.0),
    "error_rate": (0.01, 0.05),
    "bars_overdue_s": (300.0, 3600.0),
    "decisions_overdue_s": (300.0, 3600.0),
}
"""Degraded above the first value, critical above the second."""

ACCURACY_LIMITS: Final = (0.60, 0.45)
"""An agent's share of right votes: degraded below the first value, critical below the second."""

MIN_TRADES: Final = 20
"""Below this number of trades an accuracy says too little to be graded."""

LATENCY_ALERT_MS: Final = 150.0

DRAWDOWN_ALERT: Final = 0.5
"""Share of the session's drawdown limit above which there is an alert."""

BUS_SLOW_S: Final = 1.0
BUS_WAIT_S: Final = 5.0
BUS_LAG: Final = 1_000
"""The bus is degraded when its server takes longer, an entry waits longer, more are not read."""


@dataclass(frozen=True, slots=True)
class StateAge:
    """How old what decisions rely on is, in seconds.

    ``state_age_s``: since the store last took a write; ``lost``: it cannot be relied on.
    ``bars_overdue_s``: by how much the next bar is late, None when no bars are sent;
    ``decisions_overdue_s``: the same of a decision, see ``decisions_overdue_s``.
    """

    state_age_s: float
    lost: bool
    bars_overdue_s: float | None
    decisions_overdue_s: float | None = None


def decisions_overdue_s(
    last_s: float | None, now_s: float, instrument: Instrument, bar_seconds: int
) -> float | None:
    """Return by how much a decision is late: nobody asked since the calendar's next bar closed.

    Args:
        last_s: epoch time of the last decision, None for none.
        now_s: epoch time.
        instrument: whose calendar counts.
        bar_seconds: length of a bar.

    Returns:
        Seconds, 0 when none is due; None before the first decision.
    """
    if last_s is None:
        return None
    opens_s = next_bar_s(int(last_s) - bar_seconds, instrument, bar_seconds)
    return 0.0 if opens_s is None else max(0.0, now_s - opens_s - bar_seconds)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of some statuses, healthy when there are none."""
    return max(statuses, key=_ORDER.index, default=HEALTHY)


def grade(name: str, value: float) -> Status:
    """Return the status of a measurement by its two limits."""
    degraded, critical = LIMITS[name]
    return CRITICAL if value > critical else DEGRADED if value > degraded else HEALTHY


def latency_report(stages_ms: FloatArray, performance: PerformanceConfig) -> Latency:
    """Return mean, p50, p95, p99, max, target and violations per stage, in milliseconds.

    Args:
        stages_ms: (N, 4) latencies of the last N decisions; with N = 0 the statistics are None.
        performance: the budgets, which are the targets.
    """
    stages = []
    for took, target in zip(stages_ms.T, performance.latency_targets.by_stage_ms, strict=True):
        violations = int((took > target).sum())
        if not len(took):
            stages.append(StageLatency(target=target, violations=violations))
            continue
        p50, p95, p99 = np.percentile(took, (50, 95, 99))
        mean, p50, p95, p99, most = (
            round(float(value), 4) for value in (took.mean(), p50, p95, p99, took.max())
        )
        stages.append(
            StageLatency(
                mean=mean, p50=p50, p95=p95, p99=p99, max=most, target=target, violations=violations
            )
        )
    return Latency(*stages)


def health_report(
    now_s: float,
    resources: Resources,
    recent: Recent,
    performance: PerformanceConfig,
    bundle_id: str,
    drawdown_limit: float,
    state: RiskState,
    scores: tuple[int, Accuracy],
    age: StateAge,
    journal: JournalHealth,
    bus: BusStatus | None = None,
) -> HealthAnswer:
    """Return the answer of ``GET /health``.

    Args:
        now_s: epoch time.
        resources: how much is used of what the service may use.
        recent: the last hour of decisions.
        performance: latency budgets.
        bundle_id: of the bundle that decides.
        drawdown_limit: of a session, as a share of its peak.
        state: position, operator's order and bars.
        scores: number of trades with known votes, and the accuracy of each agent over them.
        age: how old the state and the bars are.
        journal: what became of the decisions that were to be kept.
        bus: how the bus is, None without one.
    """
    latency = latency_report(recent.stages_ms, performance)
    alerts: list[Alert] = []
    components = Components(
        resources=_resources(resources, alerts),
        models=_models(recent.model_error_rate, bundle_id, alerts),
        pipeline=_pipeline(
            recent.service_error_rate,
            latency.total.p95,
            age.decisions_overdue_s,
            bus is not None,
            alerts,
        ),
        agents=_agents(*scores, alerts),
        bus=_bus(state, age, bus, alerts),
        store=_store(journal, alerts),
    )
    alerts += _account_alerts(state, drawdown_limit)
    last_s = recent.last_decision_s
    return HealthAnswer(
        status=worst(getattr(components, name).status for name in components.__struct_fields__),
        timestamp=_iso(now_s),
        components=components,
        metrics=ServiceMetrics(
            decisions_last_hour=recent.decisions,
            avg_confidence=recent.avg_confidence,
            active_positions=state.positions,
            override=state.control,
            halted=state.account.halted,
            last_decision=None if last_s is None else _iso(last_s),
        ),
        latency=latency,
        alerts=alerts,
    )


def _account_alerts(state: RiskState, limit: float) -> list[Alert]:
    """Return what an operator has to know of the account; none of it is a fault of the service."""
    account, found = state.account, []
    drawdown = 1.0 - account.equity / account.session_peak
    if account.halted:
        found.append(Alert.of(AlertCode.HALTED, "the session's drawdown limit halted trading"))
    elif drawdown > limit * DRAWDOWN_ALERT:
        text = f"drawdown of the session is {drawdown:.2%}, its limit {limit:.2%}"
        found.append(Alert.of(AlertCode.DRAWDOWN, text))
    if state.control is not Control.NONE:
        text = f"an operator's order is in force: {state.control.value}"
        found.append(Alert.of(AlertCode.OVERRIDE, text))
    return found


def _graded(measured: Mapping[AlertCode, tuple[str, float]], alerts: list[Alert]) -> Status:
    """Return the worst grade of some measurements, and add an alert for each bad one."""
    grades = {code: grade(*named) for code, named in measured.items()}
    for code, status in grades.items():
        if status != HEALTHY:
            alerts.append(_above(code, *measured[code], status))
    return worst(grades.values())


def _resources(found: Resources, alerts: list[Alert]) -> ResourcesHealth:
    measured = {
        AlertCode.CPU: ("cpu_percent", found.cpu_percent),
        AlertCode.MEMORY: ("memory_percent", found.memory_percent),
        AlertCode.DISK: ("disk_percent", found.disk_percent),
    }
    return ResourcesHealth(_graded(measured, alerts), **dict(measured.values()))


def _models(error_rate: float, bundle_id: str, alerts: list[Alert]) -> ModelsHealth:
    measured = {AlertCode.FALLBACKS: ("error_rate", error_rate)}
    return ModelsHealth(_graded(measured, alerts), error_rate, bundle_id)


def _pipeline(
    error_rate: float,
    p95_ms: float | None,
    overdue_s: float | None,
    by_event: bool,
    alerts: list[Alert],
) -> PipelineHealth:
    """Return how requests are answered, and whether any come where the calendar has bars."""
    status = _graded({AlertCode.ERRORS: ("error_rate", error_rate)}, alerts)
    if overdue_s is not None and not by_event:  # events come when they come
        measured = {AlertCode.DECISIONS_OVERDUE: ("decisions_overdue_s", overdue_s)}
        status = worst((status, _graded(measured, alerts)))
    if p95_ms is None:
        return PipelineHealth(status, error_rate, overdue_s)
    status = worst((status, grade("latency_p95_ms", p95_ms)))
    if p95_ms > LATENCY_ALERT_MS:  # a limit of its own, between degraded and critical
        alerts.append(_above(AlertCode.LATENCY, "latency_p95_ms", p95_ms, status))
    return PipelineHealth(status, error_rate, overdue_s, p95_ms)


def _agents(trades: int, accuracy: Accuracy, alerts: list[Alert]) -> AgentsHealth:
    """Return how often each agent was right; graded once there are enough trades."""
    degraded, critical = ACCURACY_LIMITS
    statuses: list[Status] = []
    for agent in AGENTS:
        share = getattr(accuracy, agent)
        if share is None or trades < MIN_TRADES:
            continue
        status: Status = CRITICAL if share < critical else DEGRADED if share < degraded else HEALTHY
        statuses.append(status)
        if status != HEALTHY:
            limit = critical if status == CRITICAL else degraded
            text = f"accuracy of {agent} is {share:.4g}, below {limit:g}"
            alerts.append(Alert.of(AlertCode.ACCURACY, text, _severity(status)))
    return AgentsHealth(worst(statuses), accuracy, trades)


def _bus(state: RiskState, age: StateAge, bus: BusStatus | None, alerts: list[Alert]) -> BusHealth:
    """Return how current the input is: the state and the bars that were sent."""
    statuses: list[Status] = []
    if age.lost:
        statuses.append(CRITICAL)
        text = f"the state has taken no write for {age.state_age_s:.3g} s: decisions hold"
        alerts.append(Alert.of(AlertCode.STATE_UNAVAILABLE, text, "critical"))
    if state.clock_jump_s:
        statuses.append(CRITICAL)
        text = f"the clock has jumped by {state.clock_jump_s:.1f} s: decisions hold"
        alerts.append(Alert.of(AlertCode.CLOCK_JUMPED, text, "critical"))
    market, overdue = state.market, age.bars_overdue_s
    if overdue is not None:
        statuses.append(_graded({AlertCode.BARS_OVERDUE: ("bars_overdue_s", overdue)}, alerts))
    gap = market is not None and market.bars_since_gap is not None
    if gap:
        statuses.append(DEGRADED)
        alerts.append(Alert.of(AlertCode.BARS_MISSING, "bars are missing inside the window"))
    if state.broker_position is not None:
        statuses.append(CRITICAL)
        found = state.account.side * state.account.quantity
        held = f"the broker's position is {state.broker_position:g} lots"
        text = f"{held}, by the fills {found:g}: decisions hold"
        alerts.append(Alert.of(AlertCode.POSITION_MISMATCH, text, "critical"))
    if state.suspect:
        statuses.append(DEGRADED)
        text = f"bars inside the window may be wrong ({', '.join(state.suspect)}): decisions hold"
        alerts.append(Alert.of(AlertCode.BARS_SUSPECT, text))
    streams = None if bus is None else _streams(bus, statuses, alerts)
    return BusHealth(
        status=worst(statuses),
        state_age_s=round(age.state_age_s, 3),
        bars_overdue_s=overdue,
        bars=0 if market is None else market.bars,
        gap=gap,
        suspect=list(state.suspect),
        streams=streams,
    )


def _streams(bus: BusStatus, statuses: list[Status], alerts: list[Alert]) -> StreamsHealth:
    """Return how the bus is: whatever it is, the service goes on over HTTP."""
    troubles: list[Alert] = []

    def trouble(code: AlertCode, text: str) -> None:
        troubles.append(Alert.of(code, text))

    figures = bus.figures
    if bus.unreachable is not None:
        trouble(AlertCode.BUS_UNREACHABLE, f"the bus cannot be used: {bus.unreachable}")
    elif bus.refused is not None:
        text = f"the bus does not take what it is given: {bus.refused}"
        trouble(AlertCode.BUS_REFUSES, text)
    elif figures is not None:
        if bus.took_s > BUS_SLOW_S:
            trouble(AlertCode.BUS_SLOW, f"the bus takes {bus.took_s:.1f} s to answer")
        if figures.oldest_s > BUS_WAIT_S:
            text = f"entries of the bus wait for {figures.oldest_s:.0f} s to be answered"
            trouble(AlertCode.BUS_WAITS, text)
        if figures.lag > BUS_LAG:
            trouble(AlertCode.BUS_LAG, f"{figures.lag} entries of the bus have not been read")
    if bus.dead_recently and figures is not None:
        text = f"{figures.dead} dead letters are on the bus, some of the last hour"
        trouble(AlertCode.BUS_DEAD_LETTERS, text)
    if bus.warning is not None:
        alerts.append(Alert.of(AlertCode.BUS_MAY_LOSE, bus.warning))
    statuses += [DEGRADED] * len(troubles)
    alerts += troubles
    return StreamsHealth(
        connected=bus.unreachable is None,
        reads=bus.reads,
        lag=None if figures is None else figures.lag,
        pending=None if figures is None else figures.pending,
        oldest_s=None if figures is None else round(figures.oldest_s, 3),
        dead_letters=None if figures is None else figures.dead,
    )


def _store(journal: JournalHealth, alerts: list[Alert]) -> StoreHealth:
    """Return whether the decisions are kept."""
    status: Status = HEALTHY
    if journal.failure is not None:
        status = DEGRADED
        text = "decisions cannot be written to the journal"
        alerts.append(Alert.of(AlertCode.JOURNAL_FAILS, text))
    if journal.recent:
        status = DEGRADED
        text = f"{journal.lost} decisions are missing from the journal"
        alerts.append(Alert.of(AlertCode.DECISIONS_LOST, text))
    return StoreHealth(status, journal.waiting, journal.lost)


def _severity(status: Status) -> Severity:
    return "critical" if status == CRITICAL else "warning"


def _above(code: AlertCode, name: str, value: float, status: Status) -> Alert:
    limit = LATENCY_ALERT_MS if code == AlertCode.LATENCY else LIMITS[name][status == CRITICAL]
    return Alert.of(code, f"{name} is {value:.4g}, above {limit:g}", _severity(status))


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")

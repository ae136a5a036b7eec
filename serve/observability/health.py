"""How the service is: components, latencies and alerts from measurements; the worst decides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import psutil

from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.types import AGENTS, FloatArray
from serve.decision.decider import STAGES
from serve.decision.risk_state import RiskState
from serve.observability.latency_window import Recent

HEALTHY, DEGRADED, CRITICAL = "healthy", "degraded", "critical"
_ORDER: Final = (HEALTHY, DEGRADED, CRITICAL)
_PROBE_EVERY_S: Final = 1.0

LIMITS: Final = {
    "cpu_percent": (80.0, 95.0),
    "memory_percent": (85.0, 95.0),
    "disk_percent": (85.0, 95.0),
    "latency_p95_ms": (100.0, 200.0),
    "error_rate": (0.01, 0.05),
    "bars_overdue_s": (300.0, 3600.0),
}
"""Degraded above the first value, critical above the second."""

ACCURACY_LIMITS: Final = (0.60, 0.45)
"""An agent's share of right votes: degraded below the first value, critical below the second."""

MIN_TRADES: Final = 20
"""Trades below which an accuracy says too little to be judged."""

LATENCY_ALERT_MS: Final = 150.0


@dataclass(frozen=True, slots=True)
class Resources:
    """Use of the node in percent."""

    cpu_percent: float
    memory_percent: float
    disk_percent: float


@dataclass(frozen=True, slots=True)
class StateAge:
    """How old what decisions rely on is, in seconds.

    ``bars_overdue_s``: by how much the next bar is late, None when no bars are sent.
    """

    state_age_s: float
    lease_s: float
    bars_overdue_s: float | None


class ResourceProbe:
    """Reads the node's use at most once a second, without waiting for it."""

    def __init__(self) -> None:
        psutil.cpu_percent(interval=None)  # the first reading only starts the measurement
        self._read_at = time.monotonic()
        self._last = self._read(cpu_percent=0.0)

    def read(self) -> Resources:
        """Return the use since the last reading."""
        now = time.monotonic()
        if now - self._read_at >= _PROBE_EVERY_S:
            self._read_at = now
            self._last = self._read(psutil.cpu_percent(interval=None))
        return self._last

    @staticmethod
    def _read(cpu_percent: float) -> Resources:
        return Resources(
            cpu_percent=cpu_percent,
            memory_percent=psutil.virtual_memory().percent,
            disk_percent=psutil.disk_usage("/").percent,
        )


def worst(statuses: list[str]) -> str:
    """Return the worst of some statuses, healthy when there are none."""
    return max(statuses, key=_ORDER.index, default=HEALTHY)


def grade(name: str, value: float) -> str:
    """Return the status of a measurement by its two limits."""
    degraded, critical = LIMITS[name]
    return CRITICAL if value > critical else DEGRADED if value > degraded else HEALTHY


def latency_report(stages_ms: FloatArray, performance: PerformanceConfig) -> dict[str, Any]:
    """Return mean, p50, p95, p99, max, target and violations per stage, in milliseconds.

    Args:
        stages_ms: (N, 4) latencies of the last N decisions; with N = 0 the figures are None.
        performance: the budgets, which are the targets.
    """
    report: dict[str, Any] = {}
    targets = performance.latency_targets.by_stage_ms
    for i, (stage, target) in enumerate(zip(STAGES, targets, strict=True)):
        took = stages_ms[:, i]
        figures: dict[str, Any] = dict.fromkeys(("mean", "p50", "p95", "p99", "max"))
        if len(took):
            p50, p95, p99 = np.percentile(took, (50, 95, 99))
            figures = {"mean": took.mean(), "p50": p50, "p95": p95, "p99": p99, "max": took.max()}
            figures = {name: round(float(value), 4) for name, value in figures.items()}
        violations = int((took > target).sum())
        report[stage] = {**figures, "target": target, "violations": violations}
    return report


def health_report(
    now_s: float,
    resources: Resources,
    recent: Recent,
    performance: PerformanceConfig,
    bundle_id: str,
    state: RiskState,
    age: StateAge,
) -> dict[str, Any]:
    """Return the answer of ``GET /health``.

    Args:
        now_s: epoch time.
        resources: use of the node.
        recent: the last hour of decisions.
        performance: latency budgets.
        bundle_id: of the bundle that decides.
        state: position, operator's order, bars and accuracy.
        age: how old the state and the bars are.
    """
    latency = latency_report(recent.stages_ms, performance)
    p95 = latency["total"]["p95"]
    measured = {
        "resources": {
            "cpu_percent": resources.cpu_percent,
            "memory_percent": resources.memory_percent,
            "disk_percent": resources.disk_percent,
        },
        "models": {"error_rate": recent.model_error_rate},
        "pipeline": {
            "error_rate": recent.service_error_rate,
            **({} if p95 is None else {"latency_p95_ms": p95}),
        },
    }
    components: dict[str, Any] = {}
    alerts = []
    for component, values in measured.items():
        grades = {name: grade(name, value) for name, value in values.items()}
        components[component] = {"status": worst(list(grades.values())), **values}
        alerts += [
            _alert(component, name, values[name], status)
            for name, status in grades.items()
            if status != HEALTHY and name != "latency_p95_ms"
        ]
    if p95 is not None and p95 > LATENCY_ALERT_MS:
        alerts.append(_alert("pipeline", "latency_p95_ms", p95, components["pipeline"]["status"]))
    components["models"]["bundle_id"] = bundle_id
    components["agents"] = _agents(state, alerts)
    components["bus"] = _bus(state, age, alerts)
    return {
        "status": worst([part["status"] for part in components.values()]),
        "timestamp": _iso(now_s),
        "components": components,
        "metrics": {
            "decisions_last_hour": recent.decisions,
            "avg_confidence": recent.avg_confidence,
            "active_positions": state.positions,
            "override": state.control.value,
            "halted": state.account.halted,
            "last_decision": None
            if recent.last_decision_s is None
            else _iso(recent.last_decision_s),
        },
        "latency": latency,
        "alerts": alerts,
    }


def _agents(state: RiskState, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how often each agent has been right; judged once there are enough trades."""
    good, bad = ACCURACY_LIMITS
    statuses = []
    for agent, share in state.accuracy.items():
        if share is None or state.trades < MIN_TRADES:
            continue
        status = CRITICAL if share < bad else DEGRADED if share < good else HEALTHY
        statuses.append(status)
        if status != HEALTHY:
            limit = bad if status == CRITICAL else good
            alerts.append(
                _message("agents", status, f"accuracy of {agent} is {share:.4g}, below {limit:g}")
            )
    return {
        "status": worst(statuses),
        "accuracy": {agent: state.accuracy.get(agent) for agent in AGENTS},
        "trades": state.trades,
    }


def _bus(state: RiskState, age: StateAge, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how current the input is: the coordinator's state and the bars that were sent."""
    statuses = []
    if age.state_age_s > age.lease_s:
        statuses.append(CRITICAL)
        text = f"the state is {age.state_age_s:.3g} s old, above {age.lease_s:g}: decisions hold"
        alerts.append(_message("bus", CRITICAL, text))
    market, overdue = state.market, age.bars_overdue_s
    if overdue is not None:
        status = grade("bars_overdue_s", overdue)
        statuses.append(status)
        if status != HEALTHY:
            alerts.append(_alert("bus", "bars_overdue_s", overdue, status))
    gap = market is not None and market.bars_since_gap is not None
    if gap:
        statuses.append(DEGRADED)
        alerts.append(_message("bus", DEGRADED, "bars are missing inside the window"))
    return {
        "status": worst(statuses),
        "state_age_s": round(age.state_age_s, 3),
        "bars_overdue_s": overdue,
        "bars": 0 if market is None else market.bars,
        "gap": gap,
    }


def _message(component: str, status: str, text: str) -> dict[str, Any]:
    severity = "critical" if status == CRITICAL else "warning"
    return {"severity": severity, "component": component, "message": text}


def _alert(component: str, name: str, value: float, status: str) -> dict[str, Any]:
    limit = LATENCY_ALERT_MS if name == "latency_p95_ms" else LIMITS[name][status == CRITICAL]
    return _message(component, status, f"{name} is {value:.4g}, above {limit:g}")


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")

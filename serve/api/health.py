"""The answers about the service's health as types; see ``serve.api.responses``."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from rllib_tactical.domain.decision.override import Control
from serve.api.alerts import ALERTS, AlertCode
from serve.api.responses import Accuracy

Status = Literal["healthy", "degraded", "critical"]


Severity = Literal["warning", "critical"]


class Alert(Struct, frozen=True):
    """A component that needs attention."""

    code: AlertCode
    severity: Severity
    component: str
    message: str

    @classmethod
    def of(cls, code: AlertCode, message: str, severity: Severity = "warning") -> Alert:
        """Return an alert of the table.

        Raises:
            ValueError: the table does not give it this severity.
        """
        kind = ALERTS[code]
        if severity not in kind.severities:
            raise ValueError(
                f"severity of {code} must be one of {', '.join(kind.severities)}, found {severity}"
            )
        return cls(code, severity, kind.component, message)


class ResourcesHealth(Struct, frozen=True):
    """Use in percent: of the processors, memory and disk that the service may use."""

    status: Status
    cpu_percent: float
    memory_percent: float
    disk_percent: float


class ModelsHealth(Struct, frozen=True):
    """Share of decisions that the actors could not make, and the bundle that decides."""

    status: Status
    error_rate: float
    bundle_id: str


class PipelineHealth(Struct, frozen=True):
    """Share of decisions and writes that failed; no p95 is there before the first decision.

    ``decisions_overdue_s``: for how long nobody has asked although a scheduled bar has closed; null
    before the first decision and in a replay.
    """

    status: Status
    error_rate: float
    decisions_overdue_s: float | None
    latency_p95_ms: float | UnsetType = UNSET


class AgentsHealth(Struct, frozen=True):
    """Accuracy per agent over the trades of the bundle that decides whose votes are known."""

    status: Status
    accuracy: Accuracy
    trades: int


class StreamsHealth(Struct, frozen=True):
    """The bus on a Redis or Valkey server; counts are null before the first connection.

    ``reads``: the process that answers is the one that reads, others stand by. ``lag``: entries
    that nobody has read; ``pending``: those read and not answered; ``oldest_s``: age of the oldest
    of these.
    """

    connected: bool
    reads: bool
    lag: int | None
    pending: int | None
    oldest_s: float | None
    dead_letters: int | None


class BusHealth(Struct, frozen=True):
    """Age of the input in seconds; ``bars_overdue_s`` is null before the first bar.

    ``streams`` is null where events come over HTTP alone.

    ``suspect`` names the rules of ``tactical data check`` that bars of the window break.
    """

    status: Status
    state_age_s: float
    bars_overdue_s: float | None
    bars: int
    gap: bool
    suspect: list[str]
    streams: StreamsHealth | None


class StoreHealth(Struct, frozen=True):
    """The journal of decisions of the process that answers.

    ``decisions_waiting``: not written yet; ``decisions_lost``: never written, since the start.
    """

    status: Status
    decisions_waiting: int
    decisions_lost: int


class Components(Struct, frozen=True):
    """Health of each component."""

    resources: ResourcesHealth
    models: ModelsHealth
    pipeline: PipelineHealth
    agents: AgentsHealth
    bus: BusHealth
    store: StoreHealth


class ServiceMetrics(Struct, frozen=True):
    """The last hour of decisions, the position and the operator's order."""

    decisions_last_hour: int
    avg_confidence: float | None
    active_positions: int
    override: Control
    halted: bool
    last_decision: str | None


class StageLatency(Struct, frozen=True, kw_only=True):
    """Latency of one stage in milliseconds; null before the first decision.

    ``target`` is the stage's budget, ``violations`` counts the decisions over it.
    """

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    target: float
    violations: int


class Latency(Struct, frozen=True):
    """Latency per stage of the last 1,000 decisions."""

    matrix: StageLatency
    inference: StageLatency
    aggregation: StageLatency
    total: StageLatency


class SymbolHealth(Struct, frozen=True):
    """Health of one of several symbols; ``status`` is that of its bundle, agents and bars."""

    status: Status
    bundle_id: str
    active_positions: int
    override: Control
    halted: bool
    bars: int
    bars_overdue_s: float | None
    gap: bool
    suspect: list[str]
    accuracy: Accuracy
    trades: int


class TotalHealth(Struct, frozen=True):
    """The sum of all accounts: equity in dollars, drawdown of the session, and its limits.

    The limits are shares, null where there is none.
    """

    equity: float
    drawdown: float
    drawdown_limit: float | None
    daily_loss_limit: float | None
    halted: bool


class HealthAnswer(Struct, frozen=True):
    """The answer of ``GET /health``; ``status`` is that of the worst component.

    ``total`` and ``symbols`` are there when the service has several symbols.
    """

    status: Status
    timestamp: str
    components: Components
    metrics: ServiceMetrics
    latency: Latency
    alerts: list[Alert]
    total: TotalHealth | UnsetType = UNSET
    symbols: dict[str, SymbolHealth] | UnsetType = UNSET


class LiveAnswer(Struct, frozen=True):
    """The answer of ``GET /live``: the process answers."""

    status: Literal["live"] = "live"


class ReadyAnswer(Struct, frozen=True):
    """The answer of ``GET /ready``: decisions rely on a current state."""

    status: Literal["ready"] = "ready"

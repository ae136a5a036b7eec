"""The answers of the service as types: what the OpenAPI document and the client promise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from serve.api.write_requests import OrderMetadata

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Status = Literal["healthy", "degraded", "critical"]


class ExecutionCommand(Struct, frozen=True):
    """An order; ``stop_loss`` and ``take_profit`` are null when it closes a position."""

    order_type: Literal["MARKET"]
    time_in_force: Literal["IOC"]
    side: Literal["BUY", "SELL"]
    quantity: float
    symbol: str
    stop_loss: float | None
    take_profit: float | None
    metadata: OrderMetadata


class Scores(Struct, frozen=True):
    """Weighted confidence of the three outcomes."""

    long: float
    short: float
    hold: float


class DecisionPart(Struct, frozen=True):
    """What is done (``action``), what the votes preferred (``side``), and why."""

    action: Literal["long", "short", "hold"]
    confidence: float
    execute: bool
    reason: str
    side: Literal["long", "short", "hold"]
    scores: Scores
    execution_command: ExecutionCommand | None


class AgentVote(Struct, frozen=True):
    """One agent's vote; ``probabilities`` null when the fallback answered."""

    action: Literal[0, 1, 2]
    probabilities: Annotated[list[Probability], Meta(min_length=3, max_length=3)] | None
    confidence: Probability
    label: str
    expected_action: float
    stance: Literal["trend_following", "counter_trend", "neutral"] | None = None


class AgentBreakdown(Struct, frozen=True):
    """The three votes."""

    fvg: AgentVote
    momentum: AgentVote
    entry: AgentVote


class Timing(Struct, frozen=True):
    """Milliseconds per stage."""

    matrix_ms: float
    inference_ms: float
    aggregation_ms: float
    total_ms: float


class DecideAnswer(Struct, frozen=True):
    """The answer of ``POST /decide``."""

    decision: DecisionPart
    agent_breakdown: AgentBreakdown
    timing: Timing
    source: Literal["policy", "fallback", "override"]
    decision_id: str
    bundle_id: str


class Gap(Struct, frozen=True):
    """Missing bars between two timestamps (open times, epoch seconds)."""

    after: int
    before: int
    missing_bars: int


class BarsAnswer(Struct, frozen=True):
    """The answer of ``POST /bars``. ``ready``: decisions by symbol are possible."""

    symbol: str
    accepted: int
    repeated: int
    gaps: list[Gap]
    last_timestamp: int
    bars: int
    ready: bool
    degraded: bool
    version: int


class FillsAnswer(Struct, frozen=True):
    """The answer of ``POST /fills``. ``position`` in lots, negative when short."""

    symbol: str
    accepted: int
    repeated: int
    position: float
    equity: float
    halted: bool
    version: int


class OverrideAnswer(Struct, frozen=True):
    """The answer of ``POST /admin/override``: the order that is in force."""

    override: Literal["none", "pause", "flatten", "force_hold"]
    repeated: bool
    version: int


class ModelAnswer(Struct, frozen=True):
    """The answer of ``POST /admin/model``."""

    bundle_id: str
    previous: str
    version: int


class Accuracy(Struct, frozen=True):
    """Share of right votes; null before there is a trade."""

    fvg: float | None
    momentum: float | None
    entry: float | None


class DailyPnl(Struct, frozen=True):
    """Spread of the daily P&L in dollars."""

    mean: float | None
    std: float | None
    best: float | None
    worst: float | None


class PerformanceAnswer(Struct, frozen=True):
    """The answer of ``GET /performance``; what cannot be computed is null."""

    days: int
    trades: int
    trades_with_votes: int
    net_pnl: float
    win_rate: float | None
    average_win: float | None
    average_loss: float | None
    average_trade: float | None
    profit_factor: float | None
    payoff_ratio: float | None
    accuracy: Accuracy
    trading_days: int
    daily_pnl: DailyPnl


class Alert(Struct, frozen=True):
    """Something to look at."""

    severity: Literal["warning", "critical"]
    component: str
    message: str


class HealthAnswer(Struct, frozen=True):
    """The answer of ``GET /health``; ``status`` is that of the worst component."""

    status: Status
    timestamp: str
    components: dict[str, dict[str, Any]]
    metrics: dict[str, Any]
    latency: dict[str, dict[str, float | int | None]]
    alerts: list[Alert]


class StatusAnswer(Struct, frozen=True):
    """The answer of ``GET /live`` and ``GET /ready``."""

    status: Literal["live", "ready"]


class ErrorPart(Struct, frozen=True):
    """What went wrong; ``details.field`` names the field when there is one to blame."""

    code: str
    message: str
    details: dict[str, str]


class ErrorAnswer(Struct, frozen=True):
    """Every answer with a status of 400 or above."""

    error: ErrorPart

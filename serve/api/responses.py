"""The answers of the service as types: server, OpenAPI document and client are made from them.

The order of the fields is the order of the keys in the JSON document.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rllib_tactical.domain.decision.actions import ActionName
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.types import Reason

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Source = Literal["policy", "fallback", "override"]
Stance = Literal["trend_following", "counter_trend", "neutral"]
WarningCode = Literal["unknown_synergy_type"]

# mypy asks for literal members; a second list of the reasons would have to be kept equal by hand
ReasonCode = StrEnum(  # type: ignore[misc]
    "ReasonCode", {reason.name: reason.code for reason in Reason}
)
ReasonCode.__doc__ = "Why a decision is what it is."


class VoteLabels(Struct, forbid_unknown_fields=True, frozen=True):
    """What the three agents voted for."""

    fvg: Literal["long", "hold", "short"]
    momentum: Literal["up", "neutral", "down"]
    entry: Literal["wait", "execute", "aggressive"]


class OrderMetadata(Struct, forbid_unknown_fields=True, frozen=True):
    """The decision behind an order. A fill may hand it back, so that its votes can be scored."""

    source: Source
    decision_id: Name
    bundle_id: Name
    confidence: Probability
    votes: VoteLabels
    synergy_aligned: bool | None


class ExecutionCommand(Struct, frozen=True, kw_only=True):
    """An order; ``stop_loss`` and ``take_profit`` are null when it closes a position."""

    action: Literal["execute_trade"] = "execute_trade"
    order_type: Literal["MARKET"] = "MARKET"
    time_in_force: Literal["IOC"] = "IOC"
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
    """What is done (``action``), what the votes preferred (``side``), and why (``reason``)."""

    action: ActionName
    confidence: float
    execute: bool
    reason: ReasonCode
    side: ActionName
    scores: Scores
    execution_command: ExecutionCommand | None


class AgentVote(Struct, frozen=True):
    """One agent's vote; ``probabilities`` is null when the fallback answered.

    ``action``: the vote as a sign, +1 long, up or aggressive, 0, -1 short, down or wait;
    ``index``: its place in ``probabilities``. ``stance`` is the momentum agent's alone: its vote
    against the momentum of the last bar.
    """

    action: Literal[-1, 0, 1]
    index: Literal[0, 1, 2]
    probabilities: Annotated[list[Probability], Meta(min_length=3, max_length=3)] | None
    confidence: Probability
    label: str
    expected_action: float
    stance: Stance | UnsetType = UNSET


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
    """The answer of ``POST /decide``.

    ``warnings``: ``unknown_synergy_type``: the synergy's type is none of the known ones, so that
    the agents have equal weights.
    """

    decision: DecisionPart
    agent_breakdown: AgentBreakdown
    timing: Timing
    source: Source
    decision_id: str
    bundle_id: str
    warnings: list[WarningCode] = []


class Gap(Struct, frozen=True):
    """Missing bars between two timestamps (open times, epoch seconds)."""

    after: int
    before: int
    missing_bars: int


class BarsAnswer(Struct, frozen=True):
    """The answer of ``POST /bars``. ``ready``: decisions by symbol are possible.

    ``accepted`` counts the new bars; ``late`` those among them that came one place late;
    ``revised`` those that replaced other values.
    """

    symbol: str
    accepted: int
    late: int
    revised: int
    repeated: int
    gaps: list[Gap]
    last_timestamp: int
    bars: int
    ready: bool
    degraded: bool
    version: int


class FillsAnswer(Struct, frozen=True):
    """The answer of ``POST /fills``. ``position`` in lots, negative when short.

    ``accepted`` counts the new fills; ``corrected`` those among them that replaced another one.
    """

    symbol: str
    accepted: int
    corrected: int
    busted: int
    repeated: int
    position: float
    equity: float
    halted: bool
    version: int


class AccountAnswer(Struct, frozen=True):
    """The answer of ``POST /account``. ``position`` in lots, negative when short.

    The differences are the broker's values less the service's, before they were adopted if they
    were; null without the broker's. ``reconciled``: the position is the broker's; decisions hold
    while it is not.
    """

    symbol: str
    repeated: bool
    position: float
    equity: float
    position_difference: float | None
    equity_difference: float | None
    reconciled: bool
    halted: bool
    version: int


class OverrideAnswer(Struct, frozen=True):
    """The answer of ``POST /admin/override``: the order that is in force.

    With several symbols ``overrides`` has each one's, and ``override`` is the strictest of those
    that the order was for.
    """

    override: Control
    repeated: bool
    version: int
    overrides: dict[str, Control] | UnsetType = UNSET


class ModelAnswer(Struct, frozen=True):
    """The answer of ``POST /admin/model``: the bundle that decides now, and the one before it."""

    bundle_id: str
    previous: str
    version: int


class Accuracy(Struct, frozen=True):
    """Share of right votes; null before there is a trade."""

    fvg: float | None
    momentum: float | None
    entry: float | None


NO_ACCURACY: Final = Accuracy(None, None, None)


class DailyPnl(Struct, frozen=True):
    """Spread of the daily P&L in dollars."""

    mean: float | None
    std: float | None
    best: float | None
    worst: float | None


class BundlePerformance(Struct, frozen=True, kw_only=True):
    """The trades that one bundle opened; ``bundle_id`` is null where fills did not say."""

    bundle_id: str | None
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
    by_bundle: list[BundlePerformance]


class ManifestAnswer(Struct, frozen=True):
    """The answer of ``GET /model``: the bundle's manifest, and the service's targets.

    File names and the settings of the training are left out. ``size_from`` says what the
    instrument's base quantity is from; null for bundles made before it was recorded.
    ``performance`` is the section of the service's configuration.
    """

    format_version: int
    bundle_id: str
    parent: str | None
    feature_spec: dict[str, Any]
    feature_hash: str
    rules: dict[str, Any]
    rules_hash: str
    instrument: dict[str, Any]
    size_from: dict[str, Any] | None
    bar_seconds: int
    temperature_scale: float
    metrics: dict[str, Any]
    git_commit: str | None
    versions: dict[str, str]
    performance: dict[str, dict[str, float]]


class ErrorPart(Struct, frozen=True):
    """What went wrong; ``details.field`` names the field when one is to blame."""

    code: str
    message: str
    details: dict[str, str]


class ErrorAnswer(Struct, frozen=True):
    """Every answer with a status of 400 or above."""

    error: ErrorPart

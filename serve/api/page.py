"""The answers to the operator's page as types; see ``serve.api.responses``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rllib_tactical.domain.decision.actions import ActionName
from rllib_tactical.domain.decision.override import Control
from serve.api.experiment import ExperimentAnswer
from serve.api.health import TotalHealth
from serve.api.responses import ReasonCode, Scores, Source

ChartBar = list[float]
"""Open time in UTC epoch seconds, open, high, low, close, volume."""


class GapZone(Struct, frozen=True):
    """A fair value gap between two prices.

    ``from_s``: open time of the bar of its birth; ``to_s``: of the last bar on which it is active.
    """

    from_s: int
    to_s: int
    low: float
    high: float
    bullish: bool


class SymbolStatus(Struct, frozen=True, kw_only=True):
    """One symbol: its bundle, its account against its limit, and its bars.

    Money in dollars, ``position`` in lots and below zero when short, ``drawdown`` and its limit as
    shares of the session's peak. ``hold``: why decisions hold whatever the votes are, null when
    they need not. ``threshold``: the score that an order needs. ``last_s``: open time of the newest
    bar; ``due_s``: when the next one closes, null in a replay.
    """

    symbol: str
    bar_seconds: int
    timezone: str
    tick_size: float
    bundle_id: str
    threshold: float
    equity: float
    session_peak: float
    drawdown: float
    drawdown_limit: float
    position: float
    entry_price: float | None
    halted: bool
    control: Control
    hold: ReasonCode | None
    bars: int
    ready: bool
    last_s: int | None
    due_s: float | None


class StatusAnswer(Struct, frozen=True):
    """All symbols, and their sum where there are several."""

    symbols: dict[str, SymbolStatus]
    total: TotalHealth | None
    version: int


class PageOrder(Struct, frozen=True):
    """The order of a decision; the levels are null when it closes a position."""

    side: Literal["BUY", "SELL"]
    quantity: float
    stop_loss: float | None
    take_profit: float | None


class PageVote(Struct, frozen=True):
    """One agent's vote; ``probabilities`` is null when the fallback answered."""

    label: str
    confidence: float
    probabilities: list[float] | None


class PageDecision(Struct, frozen=True, kw_only=True):
    """A decision of the journal.

    ``at_s``: epoch time; ``bar_s``: open time of the newest bar then, null without bars.
    ``equity`` to ``halted``: the account then. ``caller``: who asked.
    """

    decision_id: str
    at_s: float
    bar_s: int | None
    symbol: str
    action: ActionName
    execute: bool
    reason: str
    source: Source
    side: ActionName
    confidence: float
    scores: Scores
    order: PageOrder | None
    price: float
    atr: float
    votes: dict[str, PageVote]
    bundle_id: str
    equity: float
    session_peak: float
    position: float
    halted: bool
    caller: str


class PageFill(Struct, frozen=True):
    """A fill of the broker; ``busted``: it was undone or replaced."""

    fill_id: str
    side: Literal["BUY", "SELL"]
    quantity: float
    price: float
    time_s: float
    decision_id: str | None
    busted: bool = False


class ViewAnswer(Struct, frozen=True, kw_only=True):
    """The answer of ``GET /view``: what the page shows of one symbol.

    ``bars``, ``decisions`` and ``fills`` are the newest, oldest first; before the decisions comes
    the one that opened the last position. ``cursor``: the id after which ``GET /events`` goes on.
    ``controls``: operators can give orders from the page, because the service has a token.
    """

    symbol: str
    bars: list[ChartBar]
    gaps: list[GapZone]
    decisions: list[PageDecision]
    fills: list[PageFill]
    status: StatusAnswer
    cursor: str
    controls: bool


class AuditEntry(Struct, frozen=True, kw_only=True):
    """What changed the service: an operator's order, a bundle, or a correction of the account.

    ``at_s``: epoch time, of the record before where it has none; ``symbol`` is null for all.
    ``bundle_id`` and ``path`` are those of a chosen bundle.
    """

    sequence: int
    at_s: float | None
    kind: Literal["control", "model", "account", "revision"]
    symbol: str | None
    what: str
    by: str = ""
    note: str = ""
    bundle_id: str | None = None
    path: str | None = None


class AuditAnswer(Struct, frozen=True):
    """The answer of ``GET /admin/audit``: the newest entries, oldest first."""

    entries: list[AuditEntry]


class DayAnswer(Struct, frozen=True, kw_only=True):
    """The answer of ``GET /day``: one past day of a symbol, from state and journal.

    ``day``: in the time zone of the instrument, null when there are no bars; ``days``: those with
    bars. ``bars`` begin with some of the days before, which are there for the features.
    ``first_s``: open time of the first bar of the day.
    """

    symbol: str
    day: str | None
    days: list[str]
    timezone: str
    bar_seconds: int
    first_s: int | None
    bars: list[ChartBar]
    gaps: list[GapZone]
    decisions: list[PageDecision]
    fills: list[PageFill]
    audit: list[AuditEntry]


class PageOutcome(Struct, frozen=True):
    """What a decision would be; ``score`` is that of the side that wins."""

    action: ActionName
    reason: str
    quantity: float
    score: float


class PageOcclusion(Struct, frozen=True):
    """By how much the probability of each agent's vote falls without a bar or a feature."""

    name: str
    effect: dict[str, float]
    outcome: PageOutcome


class PageOtherVotes(Struct, frozen=True):
    """Votes that were not cast, how probable they were together, and the outcome."""

    votes: dict[str, str]
    probability: float | None
    outcome: PageOutcome


class PageStep(Struct, frozen=True):
    """One step from the votes to what was done, and what it left of the order."""

    name: Literal["votes", "gap", "order", "limits", "override"]
    text: str
    action: ActionName
    quantity: float


class PageLimit(Struct, frozen=True):
    """A risk limit that made the order smaller; ``quantity``: what it allows, in lots."""

    name: str
    limit: float
    quantity: float


class WhyAnswer(Struct, frozen=True, kw_only=True):
    """The answer of ``GET /explain``: why a decision is what it is.

    ``window``: the raw features (60, 7), the newest bar last; ``bar_s``: its open time, null
    without bars. ``rows`` and ``columns``: what each bar and each feature matters; ``others``: with
    one agent's vote changed; ``nearest``: the most probable votes with another outcome.
    ``weights``: of the agents' votes. ``same``: the recomputation gives the recorded decision.
    """

    decision_id: str
    bar_s: int | None
    features: list[str]
    window: list[list[float]]
    votes: dict[str, str]
    outcome: PageOutcome
    weights: dict[str, float]
    threshold: float
    steps: list[PageStep]
    limits: list[PageLimit]
    rows: list[PageOcclusion]
    columns: list[PageOcclusion]
    others: list[PageOtherVotes]
    nearest: PageOtherVotes | None
    same: bool


class PageDrift(Struct, frozen=True, kw_only=True):
    """Drift of a symbol's bundle after its newest whole session.

    ``profile``: whether there is one of the bundle. ``ratios``: by group, the largest statistic
    over its threshold; ``alarms``: how many statistics are above theirs.
    """

    profile: bool
    sessions: int
    alarms: int
    ratios: dict[str, float]
    words: str


class MonitorsAnswer(Struct, frozen=True, kw_only=True):
    """What is watched beside the decisions; ``drift`` has the symbols with a monitor."""

    drift: dict[str, PageDrift]
    experiment: ExperimentAnswer


EventName = Literal[
    "bars", "gaps", "decision", "fills", "audit", "status", "health", "monitors", "reset"
]
"""What ``GET /events`` sends.

``gaps``: the gaps of the newest bars; ``audit``: there is a new entry of the audit trail;
``reset``: too much has happened since the client's last event: it has to ask ``GET /view`` again.
"""

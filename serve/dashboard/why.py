"""Why a decision is what it is: its window, what mattered, and each step from votes to order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from rllib_tactical.domain.decision.actions import ACTION_NAMES
from rllib_tactical.domain.decision.override import apply_override, override_for
from rllib_tactical.domain.decision.pipeline import Decision
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES, SYNERGY_TYPES, Reason
from serve.api.decide_request import DecideInput
from serve.api.page import PageLimit, PageStep, WhyAnswer
from serve.decision.decider import Circumstances, Decider
from serve.journal.explain import explained, subject_of
from serve.journal.replay import compare

_FREE: Final[dict[str, float]] = {
    "max_risk_per_trade": 1.0,
    "drawdown_share_per_trade": 1.0,
    "max_leverage": 1e12,
}
"""Each limit on the size of an order, and the value with which it does not bind."""


def why_of(name: str, decision_id: str) -> WhyAnswer:
    """Explain the decision whose id begins with ``decision_id``.

    Raises:
        DataError: the decision, its bundle or its state is missing, or its bars have changed.
        DamagedError: journal or state are not what was written to them.
    """
    subject = subject_of(name, decision_id)
    record, decider, request = subject.record, subject.decider, subject.request
    given = subject.given
    found = explained(record.decision_id, decider, request, given, record.fallback)
    _, votes = decider.votes(request, fallback=record.fallback)
    aggregation = decider.rules_of(request).aggregation
    kind = request.synergy_kind if request.synergy_kind < len(SYNERGY_TYPES) else 0
    weights = getattr(aggregation.synergy_type_weights, SYNERGY_TYPES[kind])
    market = subject.market
    plain: dict[str, Any] = found.plain()
    return msgspec.convert(
        {
            **plain,
            "bar_s": None if market is None else market.last_s,
            "features": list(FEATURE_NAMES),
            "window": request.matrix.tolist(),
            "weights": dict(zip(AGENTS, weights, strict=True)),
            "threshold": aggregation.execution_threshold,
            "steps": steps_of(decider, votes, request, given),
            "limits": limits_of(decider, votes, request, given),
            "same": compare(record, decider, subject.states) is None,
        },
        WhyAnswer,
    )


def steps_of(
    decider: Decider, votes: Votes, request: DecideInput, given: Circumstances
) -> list[PageStep]:
    """Return what each step from the votes on made of the order."""
    unlimited = decider.decision_of(votes, request, replace(given, after_gap=False))
    decision = decider.decision_of(votes, request, given)
    vote = unlimited.vote
    side = ACTION_NAMES[int(vote.side[0])]
    text = f"{side} with a score of {float(vote.score[0]):.4f}"
    if not vote.execute[0]:
        text += f": {Reason(int(vote.reason[0])).code}"
    steps = [PageStep("votes", text, side, 0.0)]
    if given.after_gap:
        steps.append(PageStep("gap", "bars are missing shortly before: no order", "hold", 0.0))
    elif vote.execute[0]:
        asked = float(unlimited.requested[0])
        steps.append(PageStep("order", f"{asked:g} lots by confidence", side, asked))
        steps.append(_step("limits", Reason(int(decision.reason[0])).code, decision))
    override = override_for(given.control, given.account, given.data_issue)
    if override is not None:
        decision = apply_override(decision, given.account, override)
        steps.append(_step("override", override.reason.code, decision))
    return steps


def limits_of(
    decider: Decider, votes: Votes, request: DecideInput, given: Circumstances
) -> list[PageLimit]:
    """Return the limits that alone would have made the order smaller."""
    given = replace(given, after_gap=False)
    risk, found = decider.rules_of(request).risk, []
    free = decider.decision_of(votes, request, given, _only(risk))
    # of an order that is refused for another reason, no limit made anything smaller
    asked = 0.0 if free.closes[0] else float(free.quantity[0])
    for name in _FREE:
        alone = decider.decision_of(votes, request, given, _only(risk, name))
        if float(alone.quantity[0]) < asked:
            limit = float(getattr(risk, name))
            found.append(PageLimit(name, limit, float(alone.quantity[0])))
    return found


def _only(risk: RiskConfig, name: str = "") -> RiskConfig:
    free: dict[str, Any] = {other: value for other, value in _FREE.items() if other != name}
    if name != "drawdown_share_per_trade":
        free["session_drawdown_limit"] = 1.0
    return replace(risk, **free)


def _step(name: Any, text: str, decision: Decision) -> PageStep:
    action = ACTION_NAMES[int(decision.action[0])]
    return PageStep(name, text, action, float(decision.quantity[0]))

"""A decision in the words of the API: the votes, what is done, the order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from msgspec import UNSET

from rllib_tactical.domain.decision.actions import ACTION_NAMES, LABELS, SIGNS
from rllib_tactical.domain.decision.pipeline import Decision
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES, LONG, FloatArray, Reason
from serve.api.decide_request import DecideInput
from serve.api.responses import (
    AgentBreakdown,
    AgentVote,
    DecisionPart,
    ExecutionCommand,
    OrderMetadata,
    ReasonCode,
    Scores,
    Source,
    Stance,
    VoteLabels,
)

_REASONS: Final = {int(reason): ReasonCode(reason.code) for reason in Reason}
_MOMENTUM_COLUMN: Final = FEATURE_NAMES.index("price_momentum_5")


def decision_part(
    decision: Decision,
    request: DecideInput,
    votes: Votes,
    source: Source,
    decision_id: str,
    bundle_id: str,
) -> DecisionPart:
    """Return the decision; ``action`` is done, ``side`` is what the votes preferred."""
    confidence = float(decision.confidence[0])
    side = int(decision.vote.side[0])
    long, short, hold = decision.vote.scores[0].tolist()
    command = None
    if decision.execute[0]:
        opens = not decision.closes[0]
        labels: dict[str, Any] = {
            agent: LABELS[agent][index]
            for agent, index in zip(AGENTS, votes.index[0].tolist(), strict=True)
        }
        command = ExecutionCommand(
            side="BUY" if decision.action[0] == LONG else "SELL",
            quantity=float(decision.quantity[0]),
            symbol=request.symbol,
            stop_loss=float(decision.stop[0]) if opens else None,
            take_profit=float(decision.target[0]) if opens else None,
            metadata=OrderMetadata(
                source=source,
                decision_id=decision_id,
                bundle_id=bundle_id,
                confidence=confidence,
                votes=VoteLabels(**labels),
                synergy_aligned=(
                    side == request.synergy_direction if request.synergy_kind else None
                ),
            ),
        )
    return DecisionPart(
        action=ACTION_NAMES[int(decision.action[0])],
        confidence=confidence,
        execute=bool(decision.execute[0]),
        reason=_REASONS[int(decision.reason[0])],
        side=ACTION_NAMES[side],
        scores=Scores(long, short, hold),
        execution_command=command,
    )


def breakdown_of(
    agent_probabilities: FloatArray | None, votes: Votes, matrix: FloatArray
) -> AgentBreakdown:
    """Return the three votes; without actors there are no probabilities to report."""
    signs: list[Any] = votes.signed[0].tolist()
    signed = votes.signed[0].astype(np.float64)
    expected = (
        signed if agent_probabilities is None else (agent_probabilities[0] * SIGNS).sum(axis=1)
    )
    agrees = signed[AGENTS.index("momentum")] * matrix[-1, _MOMENTUM_COLUMN]
    stance: Stance = (
        "trend_following" if agrees > 0 else "counter_trend" if agrees < 0 else "neutral"
    )
    parts: dict[str, Any] = {
        agent: AgentVote(
            action=signs[i],
            index=index,
            probabilities=(
                None if agent_probabilities is None else agent_probabilities[0, i].tolist()
            ),
            confidence=float(votes.confidence[0, i]),
            label=LABELS[agent][index],
            expected_action=float(expected[i]),
            stance=stance if agent == "momentum" else UNSET,
        )
        for i, (agent, index) in enumerate(zip(AGENTS, votes.index[0].tolist(), strict=True))
    }
    return AgentBreakdown(**parts)

"""Explain a decision: which bars and features mattered, what other votes would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.domain.decision.actions import ACTION_NAMES, LABELS
from rllib_tactical.domain.decision.override import apply_override, override_for
from rllib_tactical.domain.decision.pipeline import Decision
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import (
    AGENTS,
    FEATURE_NAMES,
    NUM_ACTIONS,
    WINDOW,
    FloatArray,
    Reason,
)
from rllib_tactical.errors import DataError
from serve.api.decide_request import DecideInput
from serve.decision.decider import Circumstances, Decider
from serve.journal.reading import find_decision
from serve.journal.record import DecisionRecord, circumstances_of
from serve.journal.replay import Deciders, Difference, PastStates, request_of
from serve.state.bars import BufferState

SHOWN_ROWS: Final = 5


@dataclass(frozen=True, slots=True)
class Occlusion:
    """What changes when a row or a column of the window is replaced by the window's average.

    ``effect``: probability of each agent's vote as it was, minus that without it; ``outcome`` is
    then the decision's.
    """

    name: str
    effect: dict[str, float]
    outcome: Outcome

    @property
    def size(self) -> float:
        """The largest change of a probability."""
        return max(map(abs, self.effect.values()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision would have been; ``score`` is that of the side that wins."""

    action: str
    reason: str
    quantity: float
    score: float


@dataclass(frozen=True, slots=True)
class OtherVotes:
    """Votes that were not cast, how probable they were together, and the outcome.

    ``probability`` is None where the rule-based votes answered.
    """

    votes: dict[str, str]
    probability: float | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a decision is what it is.

    ``rows``: by bars before the decision, the latest last; ``columns``: by feature; ``others``:
    with one agent's vote changed; ``nearest``: the most probable votes with another action, with
    another reason where no votes lead to another action; without probabilities those that differ
    in the fewest agents; None when all votes lead to the same.
    """

    decision_id: str
    votes: dict[str, str]
    outcome: Outcome
    rows: list[Occlusion]
    columns: list[Occlusion]
    others: list[OtherVotes]
    nearest: OtherVotes | None

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def text(self) -> str:
        """Return it as lines for people."""
        lines = [
            f"decision {self.decision_id}",
            f"{votes_text(self.votes)}: {outcome_text(self.outcome)}",
            "",
            "features, by how much the probability of each vote falls without them:",
            *map(_occlusion_text, sorted(self.columns, key=lambda each: -each.size)),
            "",
            f"the {SHOWN_ROWS} bars that matter most:",
            *map(_occlusion_text, sorted(self.rows, key=lambda each: -each.size)[:SHOWN_ROWS]),
            "",
            "with one other vote:",
            *map(_other_text, self.others),
            "",
            "the nearest other outcome:",
            "  all votes lead to the same" if self.nearest is None else _other_text(self.nearest),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Subject:
    """A decision of the journal with all that it was made of; ``market`` is None without bars."""

    record: DecisionRecord
    decider: Decider
    request: DecideInput
    given: Circumstances
    states: PastStates
    market: BufferState | None


def subject_of(name: str, decision_id: str, bundles: Sequence[Path] = ()) -> Subject:
    """Return the decision whose id begins with ``decision_id``, ready to be made again.

    Arguments and errors as in ``explain``.
    """
    record = find_decision(name, decision_id)
    own = record.state_version, record.parts.symbol
    states = PastStates(name, [own] if record.matrix is None else [])
    decider = Deciders(name, states.paths, bundles).of(record.answered["bundle_id"])
    request = request_of(record, decider, states)
    if isinstance(request, Difference):
        raise DataError(f"the bars of the decision must be those of then: {request}")
    market = states.at(*own).market if record.matrix is None else None
    return Subject(record, decider, request, circumstances_of(record), states, market)


def explain(name: str, decision_id: str, bundles: Sequence[Path] = ()) -> Explanation:
    """Explain the decision whose id begins with ``decision_id``.

    Args:
        name: of the state, from ``find_journal``.
        decision_id: its first characters.
        bundles: folders to look for its bundle in first.

    Raises:
        DataError: the decision, its bundle or its state is missing, or its bars have changed.
        DamagedError: journal or state are not what was written to them.
    """
    subject = subject_of(name, decision_id, bundles)
    record = subject.record
    return explained(
        record.decision_id, subject.decider, subject.request, subject.given, record.fallback
    )


def explained(
    decision_id: str,
    decider: Decider,
    request: DecideInput,
    given: Circumstances,
    fallback: bool = False,
) -> Explanation:
    """Explain the decision on a request under given circumstances."""
    probabilities, votes = decider.votes(request, fallback=fallback)
    base = _outcome(decider, votes, request, given)
    chosen = votes.index[0]

    def occluded(name: str, matrix: FloatArray) -> Occlusion:
        changed = replace(request, matrix=matrix)  # with the seed of the request as it was
        others, other_votes = decider.votes(changed, fallback=fallback)
        if probabilities is None or others is None:
            fell = (other_votes.index[0] != chosen).astype(float)
        else:
            each = np.arange(len(AGENTS))
            fell = probabilities[0, each, chosen] - others[0, each, chosen]
        outcome = _outcome(decider, other_votes, changed, given)
        return Occlusion(name, dict(zip(AGENTS, fell.tolist(), strict=True)), outcome)

    average = request.matrix.mean(axis=0)
    rows, columns = [], []
    for row in range(WINDOW):
        matrix = request.matrix.copy()
        matrix[row] = average
        rows.append(occluded(_bar_name(WINDOW - 1 - row), matrix))
    for column, feature in enumerate(FEATURE_NAMES):
        matrix = request.matrix.copy()
        matrix[:, column] = average[column]
        columns.append(occluded(feature, matrix))

    every = [
        _other(decider, request, given, probabilities, index)
        for index in product(range(NUM_ACTIONS), repeat=len(AGENTS))
        if index != tuple(chosen)
    ]
    cast = _labels(chosen)
    return Explanation(
        decision_id=decision_id,
        votes=cast,
        outcome=base,
        rows=rows,
        columns=columns,
        others=[other for other in every if _changed(other, cast) == 1],
        nearest=_nearest(every, base, cast),
    )


def _nearest(every: Sequence[OtherVotes], base: Outcome, cast: dict[str, str]) -> OtherVotes | None:
    acting = [other for other in every if other.outcome.action != base.action]
    return max(
        acting or [other for other in every if other.outcome.reason != base.reason],
        key=lambda other: (other.probability or 0.0, -_changed(other, cast)),
        default=None,
    )


def _other(
    decider: Decider,
    request: DecideInput,
    given: Circumstances,
    probabilities: FloatArray | None,
    index: tuple[int, ...],
) -> OtherVotes:
    cast = np.array([index])
    confidence = np.ones((1, len(AGENTS)))
    joint = None
    if probabilities is not None:
        confidence = np.take_along_axis(probabilities, cast[..., None], axis=-1)[..., 0]
        joint = float(confidence.prod())
    outcome = _outcome(decider, Votes(cast, confidence), request, given)
    return OtherVotes(_labels(cast[0]), joint, outcome)


def _outcome(decider: Decider, votes: Votes, request: DecideInput, given: Circumstances) -> Outcome:
    decision: Decision = decider.decision_of(votes, request, given)
    override = override_for(given.control, given.account, given.data_issue)
    if override is not None:
        decision = apply_override(decision, given.account, override)
    return Outcome(
        ACTION_NAMES[int(decision.action[0])],
        Reason(int(decision.reason[0])).code,
        float(decision.quantity[0]),
        float(decision.confidence[0]),
    )


def _labels(index: Any) -> dict[str, str]:
    return {agent: LABELS[agent][int(i)] for agent, i in zip(AGENTS, index, strict=True)}


def _changed(other: OtherVotes, cast: dict[str, str]) -> int:
    return sum(other.votes[agent] != cast[agent] for agent in AGENTS)


def _bar_name(before: int) -> str:
    return "the last bar" if before == 0 else f"{before} before the last"


def votes_text(votes: dict[str, str]) -> str:
    """Return votes for people."""
    return ", ".join(f"{agent} {label}" for agent, label in votes.items())


def outcome_text(outcome: Outcome) -> str:
    """Return an outcome for people."""
    size = f" {outcome.quantity:g}" if outcome.quantity else ""
    return f"{outcome.action}{size} ({outcome.reason}), score {outcome.score:.4f}"


def _occlusion_text(each: Occlusion) -> str:
    effects = "  ".join(f"{agent} {effect:+.4f}" for agent, effect in each.effect.items())
    return f"  {each.name:<22} {effects}  then {each.outcome.action} ({each.outcome.reason})"


def _other_text(other: OtherVotes) -> str:
    known = "" if other.probability is None else f", probability {other.probability:.4f}"
    return f"  {votes_text(other.votes)}{known}: {outcome_text(other.outcome)}"

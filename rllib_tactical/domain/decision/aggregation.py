"""Vote aggregation: three votes and a synergy become one decision. The only implementation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.decision.actions import SIGNS
from rllib_tactical.domain.preconditions import range_of, require_shape
from rllib_tactical.domain.types import (
    HOLD,
    LONG,
    NUM_ACTIONS,
    NUM_AGENTS,
    SHORT,
    SYNERGY_KINDS,
    SYNERGY_TYPES,
    BoolArray,
    FloatArray,
    IntArray,
    Reason,
    StrictConfig,
)
from rllib_tactical.errors import ArrayError, require

SIDES: Final[IntArray] = np.array([[LONG], [SHORT], [HOLD]])

TOLERANCE: Final = 1e-9

_CASES: Final = (NUM_ACTIONS, NUM_ACTIONS, NUM_ACTIONS, SYNERGY_KINDS, len(SIDES))
"""Votes of fvg, momentum and entry, synergy kind, synergy direction + 1."""

_CASE_SIGNS: Final = tuple(
    SIGNS[agent][np.indices(_CASES)[agent].ravel()] for agent in range(NUM_AGENTS)
)
"""Signed action of each agent by case."""


AgentWeights = tuple[float, float, float]
"""Weights of fvg, momentum, entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynergyTypeWeights(StrictConfig):
    """Weights of the three agents by the type of the synergy in force; NONE also of unknown ones.

    Raises:
        ConfigError: weights are negative or do not sum to 1; the message names the type.
    """

    NONE: AgentWeights = (0.33, 0.33, 0.34)
    TYPE_1: AgentWeights = (0.5, 0.3, 0.2)
    TYPE_2: AgentWeights = (0.4, 0.4, 0.2)
    TYPE_3: AgentWeights = (0.3, 0.5, 0.2)
    TYPE_4: AgentWeights = (0.35, 0.35, 0.3)

    def __post_init__(self) -> None:
        for kind in SYNERGY_TYPES:
            weights = getattr(self, kind)
            require(
                len(weights) == NUM_AGENTS
                and all(weight >= 0 for weight in weights)
                and abs(sum(weights) - 1) <= TOLERANCE,
                f"aggregation.synergy_type_weights.{kind} must be {NUM_AGENTS} numbers >= 0 that "
                "sum to 1",
                weights,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig(StrictConfig):
    """Rules of the vote.

    Raises:
        ConfigError: a value is outside its range; the message names the field.
    """

    execution_threshold: float = 0.65
    min_agents: int = 2
    counter_synergy_factor: float = 0.7
    entry_veto: bool = True
    synergy_type_weights: SynergyTypeWeights = field(default_factory=SynergyTypeWeights)

    def __post_init__(self) -> None:
        require(
            0.0 < self.execution_threshold <= 1.0,
            "aggregation.execution_threshold must be in (0, 1]",
            self.execution_threshold,
        )
        require(
            self.min_agents in (1, 2, 3),
            "aggregation.min_agents must be 1, 2 or 3",
            self.min_agents,
        )
        require(
            0.0 <= self.counter_synergy_factor <= 1.0,
            "aggregation.counter_synergy_factor must be in [0, 1]",
            self.counter_synergy_factor,
        )


@dataclass(slots=True)
class Aggregate:
    """Outcome of N votes. Arrays have shape (N,) unless said otherwise.

    ``side`` int64: the winning side +1 / -1, 0 for hold, whether or not it may be executed;
    ``score`` float64: the winner's final score (after the counter-synergy discount);
    ``scores`` (N, 3) float64: long, short, hold before the discount; ``execute`` bool;
    ``aggressive`` bool: the entry agent asks for more size; ``reason`` int64: ``Reason`` values.
    """

    side: IntArray
    score: FloatArray
    scores: FloatArray
    execute: BoolArray
    aggressive: BoolArray
    reason: IntArray


def aggregate(
    index: IntArray,
    confidence: FloatArray,
    synergy_kind: NDArray[np.integer],
    synergy_direction: NDArray[np.integer],
    config: AggregationConfig,
) -> Aggregate:
    """Aggregate N sets of three votes.

    fvg and momentum add weight x confidence to what they vote, hold included. The leading side is
    the larger of long and short (hold when equal); the entry agent adds its weight x confidence to
    the leading side when it executes, to hold when it waits. The largest score wins, hold on ties.

    Args:
        index: (N, 3) integer in 0..2, the votes of fvg, momentum and entry.
        confidence: (N, 3) float64 in [0, 1].
        synergy_kind: (N,) integer, 0 for none, 1..4, 5 for an unknown type.
        synergy_direction: (N,) integer, +1, -1 or 0.
        config: thresholds, weights and the entry veto.

    Raises:
        ArrayError: an array of another rank, shape or dtype, or a value out of range.
    """
    case = _case(index, synergy_kind, synergy_direction)
    require_shape(confidence, (len(case), NUM_AGENTS), np.float64, "confidence")
    if len(case) == 1:
        return _aggregate_one(
            int(case[0]),
            confidence[0].tolist(),
            int(synergy_kind[0]),
            int(synergy_direction[0]),
            config,
        )
    # one table per agent: several times cheaper than looking up all three at once
    fvg, momentum, entry = (signs.take(case) for signs in _CASE_SIGNS)
    waits = entry < 0
    weights = _weight_table(config.synergy_type_weights)
    points = (weights.take(synergy_kind, axis=0) * confidence).T
    scores = points[0] * (fvg == SIDES) + points[1] * (momentum == SIDES)  # (3, N)
    leading = (scores[0] > scores[1]).astype(np.int64) - (scores[0] < scores[1])
    leading[waits] = HOLD
    scores += points[2] * (leading == SIDES)
    long, short, hold = scores

    best = np.maximum(long, short)
    ahead = (best > hold + TOLERANCE) & (long != short)  # .3 + .2 of one confidence tie with its .5
    side = np.where(ahead, np.sign(long - short), HOLD).astype(np.int64)
    moves = side != HOLD
    score = np.where(moves, best, hold)
    agents = (fvg == side).astype(np.int64) + (momentum == side) + (leading == side)
    counter = (synergy_kind > 0) & moves & (synergy_direction == -side)
    final = np.where(counter, score * config.counter_synergy_factor, score)
    enough = config.execution_threshold - TOLERANCE
    reason = np.full(len(side), Reason.EXECUTE.value)
    if config.entry_veto:
        reason[waits] = Reason.ENTRY_WAIT.value
    reason[final < enough] = Reason.COUNTER_SYNERGY.value
    reason[score < enough] = Reason.BELOW_THRESHOLD.value
    reason[agents < config.min_agents] = Reason.NO_AGREEMENT.value
    reason[~moves] = Reason.NO_DIRECTION.value
    return Aggregate(
        side=side,
        score=final,
        scores=scores.T,
        execute=reason == Reason.EXECUTE.value,
        aggressive=entry > 0,
        reason=reason,
    )


def _aggregate_one(
    case: int, confidence: list[float], kind: int, direction: int, config: AggregationConfig
) -> Aggregate:
    """Return what the lines for arrays in ``aggregate`` give for one row, several times faster.

    A decision of the service is one row; numbers of Python cost less than arrays of one.
    """
    fvg, momentum, entry = (int(signs[case]) for signs in _CASE_SIGNS)
    weights = _weight_table(config.synergy_type_weights)[kind].tolist()
    points = [weight * chosen for weight, chosen in zip(weights, confidence, strict=True)]
    scores = [points[0] * (fvg == at) + points[1] * (momentum == at) for at in (LONG, SHORT, HOLD)]
    leading = HOLD if entry < 0 else (scores[0] > scores[1]) - (scores[0] < scores[1])
    for place, at in enumerate((LONG, SHORT, HOLD)):
        scores[place] += points[2] * (leading == at)
    long, short, hold = scores

    side, score = HOLD, hold
    if long > short and long > hold + TOLERANCE:
        side, score = LONG, long
    elif short > long and short > hold + TOLERANCE:
        side, score = SHORT, short
    agents = (fvg == side) + (momentum == side) + (leading == side)
    counter = kind > 0 and side != HOLD and direction == -side
    final = score * config.counter_synergy_factor if counter else score
    enough = config.execution_threshold - TOLERANCE
    if side == HOLD:
        reason = Reason.NO_DIRECTION
    elif agents < config.min_agents:
        reason = Reason.NO_AGREEMENT
    elif score < enough:
        reason = Reason.BELOW_THRESHOLD
    elif final < enough:
        reason = Reason.COUNTER_SYNERGY
    elif config.entry_veto and entry < 0:
        reason = Reason.ENTRY_WAIT
    else:
        reason = Reason.EXECUTE
    return Aggregate(
        side=np.array([side]),
        score=np.array([final]),
        scores=np.array([scores]),
        execute=np.array([reason is Reason.EXECUTE]),
        aggressive=np.array([entry > 0]),
        reason=np.array([reason.value]),
    )


def aggregate_constant(
    index: IntArray,
    confidence: float,
    synergy_kind: NDArray[np.integer],
    synergy_direction: NDArray[np.integer],
    config: AggregationConfig,
) -> Aggregate:
    """Return what ``aggregate`` does for votes that all have one confidence, several times faster.

    Three votes, the synergy's type and its direction make 486 cases: they are computed once and
    looked up in every step of training.

    Args:
        index: (N, 3) integer in 0..2, the votes of fvg, momentum and entry.
        confidence: of every vote.
        synergy_kind: (N,) integer, 0 for none, 1..4, 5 for an unknown type.
        synergy_direction: (N,) integer, +1, -1 or 0.
        config: thresholds, weights and the entry veto.

    Raises:
        ArrayError: an array of another rank, shape or dtype, or a value out of range.
    """
    case = _case(index, synergy_kind, synergy_direction)
    cases = _constant_cases(confidence, config)
    return Aggregate(
        side=cases.side[case],
        score=cases.score[case],
        scores=cases.scores.take(case, axis=0),
        execute=cases.execute[case],
        aggressive=cases.aggressive[case],
        reason=cases.reason[case],
    )


@lru_cache(maxsize=16)
def _constant_cases(confidence: float, config: AggregationConfig) -> Aggregate:
    """Return the outcome of each of the 486 cases."""
    *index, kind, direction = np.indices(_CASES).reshape(len(_CASES), -1)
    same = np.full((len(kind), NUM_AGENTS), confidence)
    outcome = aggregate(np.stack(index, axis=1), same, kind, direction - 1, config)
    outcome.scores = np.ascontiguousarray(outcome.scores)  # rows are looked up faster
    return outcome


def _case(
    index: IntArray, synergy_kind: NDArray[np.integer], synergy_direction: NDArray[np.integer]
) -> IntArray:
    """Return the running number (N,) of each case of three votes and a synergy."""
    require_shape(synergy_kind, ("N",), np.integer, "synergy_kind")
    require_shape(synergy_direction, synergy_kind.shape, np.integer, "synergy_direction")
    require_shape(index, (len(synergy_kind), NUM_AGENTS), np.integer, "index")
    chosen = (index[:, 0], index[:, 1], index[:, 2], synergy_kind, synergy_direction + 1)
    try:
        case: IntArray = np.ravel_multi_index(chosen, _CASES)
    except ValueError as error:
        raise ArrayError(
            "votes must be 0..2, synergy kinds 0..5 and directions -1..1, found "
            f"{range_of(index)}, {range_of(synergy_kind)} and {range_of(synergy_direction)}"
        ) from error
    return case


@lru_cache(maxsize=16)
def _weight_table(weights: SynergyTypeWeights) -> FloatArray:
    """Return the weights (6, 3) by synergy kind."""
    table = np.array([*(getattr(weights, kind) for kind in SYNERGY_TYPES), weights.NONE])
    table.flags.writeable = False
    return table

"""From logits to votes: one softmax, and the ways to choose a vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.decision.actions import SIGNS
from rllib_tactical.domain.decision.aggregation import (
    Aggregate,
    AggregationConfig,
    aggregate,
    aggregate_constant,
)
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import AGENTS, NUM_ACTIONS, NUM_AGENTS, FloatArray, IntArray


@dataclass(slots=True)
class Votes:
    """One vote per agent. ``index`` (N, 3) int64 in 0..2; ``confidence`` (N, 3) float64 in [0, 1].

    Columns are in the order fvg, momentum, entry.
    """

    index: IntArray
    confidence: FloatArray

    @property
    def signed(self) -> IntArray:
        """Signed actions (N, 3), the numbers in brackets of the agents' table."""
        return SIGNS[np.arange(len(AGENTS)), self.index]

    def take(self, rows: IntArray | slice) -> Votes:
        """Return the votes of ``rows`` only."""
        return Votes(self.index[rows], self.confidence[rows])

    def aggregate(
        self,
        synergy_kind: NDArray[np.integer],
        synergy_direction: NDArray[np.integer],
        config: AggregationConfig,
    ) -> Aggregate:
        """Aggregate the votes, see ``aggregation.aggregate``."""
        return aggregate(self.index, self.confidence, synergy_kind, synergy_direction, config)


@dataclass(slots=True)
class ConstantVotes(Votes):
    """Votes that all have the confidence ``constant``, as in training: aggregated by look-up."""

    constant: float

    def take(self, rows: IntArray | slice) -> ConstantVotes:
        """Return the votes of ``rows`` only."""
        return ConstantVotes(self.index[rows], self.confidence[rows], self.constant)

    def aggregate(
        self,
        synergy_kind: NDArray[np.integer],
        synergy_direction: NDArray[np.integer],
        config: AggregationConfig,
    ) -> Aggregate:
        """Aggregate the votes, see ``aggregation.aggregate_constant``."""
        return aggregate_constant(
            self.index, self.constant, synergy_kind, synergy_direction, config
        )


def softmax(logits: NDArray[np.floating], temperature: FloatArray | float) -> FloatArray:
    """Return softmax(logits / temperature) over the last axis of length 3, in float64.

    Args:
        logits: (..., 3) floating.
        temperature: positive, broadcast against (..., 1) or a scalar.

    Raises:
        ArrayError: logits of another shape or dtype.
    """
    require_shape(logits, ("...", NUM_ACTIONS), np.floating, "logits")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    a, b, c = scaled[..., 0], scaled[..., 1], scaled[..., 2]
    top = np.maximum(np.maximum(a, b), c)
    weights = np.exp(scaled - top[..., None])
    total = weights[..., 0] + weights[..., 1] + weights[..., 2]
    return np.asarray(weights / total[..., None])


def greedy_votes(probabilities: FloatArray) -> Votes:
    """Return the most probable action of each agent; ties go to the lower index.

    Args:
        probabilities: (N, 3 agents, 3 actions) float64.

    Raises:
        ArrayError: another rank, shape or dtype.
    """
    _require_probabilities(probabilities)
    return _votes(probabilities, np.argmax(probabilities, axis=-1))


def sample_votes(probabilities: FloatArray, uniforms: FloatArray) -> Votes:
    """Draw each agent's action by inverting its distribution at ``uniforms``.

    Args:
        probabilities: (N, 3 agents, 3 actions) float64.
        uniforms: (N, 3 agents) float64 in [0, 1).

    Raises:
        ArrayError: another rank, shape or dtype.
    """
    _require_probabilities(probabilities)
    require_shape(uniforms, probabilities.shape[:2], np.float64, "uniforms")
    first = probabilities[..., 0]
    second = first + probabilities[..., 1]
    index = (uniforms >= first).astype(np.int64) + (uniforms >= second)
    # rounding can leave the cumulative sum below 1: never choose an action of probability 0
    index = np.where((index == 2) & (probabilities[..., 2] == 0.0), 1, index)
    return _votes(probabilities, index)


def constant_votes(index: IntArray, confidence: float) -> ConstantVotes:
    """Return votes ``index`` (N, 3) that all count with the same confidence, as in training.

    Raises:
        ArrayError: another rank or shape, or not integers.
    """
    require_shape(index, ("N", NUM_AGENTS), np.integer, "index")
    same = np.empty(index.shape)
    same.fill(confidence)
    return ConstantVotes(index.astype(np.int64, copy=False), same, confidence)


def _require_probabilities(probabilities: FloatArray) -> None:
    require_shape(probabilities, ("N", NUM_AGENTS, NUM_ACTIONS), np.float64, "probabilities")


def _votes(probabilities: FloatArray, index: IntArray) -> Votes:
    rows = np.arange(len(index))[:, None]
    return Votes(index, probabilities[rows, np.arange(NUM_AGENTS), index])

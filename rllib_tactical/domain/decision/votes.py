"""From logits to votes: one softmax, one way to choose, one table of what an index means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.types import AGENTS, FloatArray, IntArray

LABELS: Final = {
    "fvg": ("long", "hold", "short"),
    "momentum": ("up", "neutral", "down"),
    "entry": ("wait", "execute", "aggressive"),
}
SIGNS: Final[IntArray] = np.array([[1, 0, -1], [1, 0, -1], [-1, 0, 1]], dtype=np.int64)
"""Signed action by agent (rows as in AGENTS) and index."""

WAIT, EXECUTE, AGGRESSIVE = 0, 1, 2


@dataclass(slots=True)
class Votes:
    """One vote per agent. ``index`` (N, 3) int64 in 0..2; ``confidence`` (N, 3) float64 in [0, 1].

    Columns are in the order fvg, momentum, entry. ``constant`` is the confidence of every vote when
    they all count the same, as in training.
    """

    index: IntArray
    confidence: FloatArray
    constant: float | None = None

    @property
    def signed(self) -> IntArray:
        """Signed actions (N, 3): the number in brackets of the agents' table."""
        return SIGNS[np.arange(len(AGENTS)), self.index]


def softmax(logits: FloatArray, temperature: FloatArray | float) -> FloatArray:
    """Return softmax(logits / temperature) over the last axis of length 3, in float64.

    Args:
        logits: (..., 3).
        temperature: positive, broadcast against (..., 1) or a scalar.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    a, b, c = scaled[..., 0], scaled[..., 1], scaled[..., 2]
    top = np.maximum(np.maximum(a, b), c)
    weights = np.exp(scaled - top[..., None])
    total = weights[..., 0] + weights[..., 1] + weights[..., 2]
    return np.asarray(weights / total[..., None])


def greedy_votes(probabilities: FloatArray) -> Votes:
    """Return the most probable action of each agent; ties go to the lower index.

    Args:
        probabilities: (N, 3 agents, 3 actions).
    """
    return _votes(probabilities, np.argmax(probabilities, axis=-1))


def sample_votes(probabilities: FloatArray, uniforms: FloatArray) -> Votes:
    """Draw each agent's action by inverting its distribution at ``uniforms`` (N, 3) in [0, 1)."""
    first = probabilities[..., 0]
    second = first + probabilities[..., 1]
    index = (uniforms >= first).astype(np.int64) + (uniforms >= second)
    # rounding can leave the cumulative sum below 1: never choose an action of probability 0
    index = np.where((index == 2) & (probabilities[..., 2] == 0.0), 1, index)
    return _votes(probabilities, index)


def constant_votes(index: IntArray, confidence: float) -> Votes:
    """Return votes that all count with the same confidence, as in training."""
    index = np.asarray(index, dtype=np.int64)
    same = np.empty(index.shape)
    same.fill(confidence)
    return Votes(index, same, confidence)


def _votes(probabilities: FloatArray, index: IntArray) -> Votes:
    chosen = np.take_along_axis(probabilities, index[..., None], axis=-1)[..., 0]
    return Votes(index, chosen)

"""Generalised advantage estimation over episode segments (Schulman et al., 2016, eq. 16)."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray


def generalised_advantages(
    values: FloatArray,
    rewards: FloatArray,
    lengths: IntArray,
    terminated: BoolArray,
    gamma: float,
    lam: float,
) -> tuple[FloatArray, FloatArray]:
    """Return advantages and value targets, each (sum(L), A).

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t); A_t = delta_t + gamma lambda A_{t+1}; the target is
    A_t + V(s_t). A terminated segment has no value after its end, any other one bootstraps.

    Args:
        values: (sum(L + 1), A): every state of every segment, the one after the last step included.
        rewards: (sum(L), A).
        lengths: (S,) steps L of each segment, each >= 1.
        terminated: (S,) whether the segment ended in a terminal state.
        gamma: discount.
        lam: GAE's lambda.
    """
    stops = np.cumsum(lengths)
    segment = np.arange(len(lengths))
    following = np.where(terminated[:, None], 0.0, values[stops + segment])
    running = np.zeros_like(following)
    advantages = np.empty_like(rewards, dtype=np.float64)
    targets = np.empty_like(advantages)
    for back in range(int(lengths.max(initial=0))):
        live = np.flatnonzero(lengths > back)
        row = stops[live] - 1 - back
        value = values[row + live]
        delta = rewards[row] + gamma * following[live] - value
        running[live] = delta + gamma * lam * running[live]
        following[live] = value
        advantages[row] = running[live]
        targets[row] = running[live] + value
    return advantages, targets

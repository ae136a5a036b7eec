"""Generalized advantage estimation over episode segments (Schulman et al., 2016, eq. 16)."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray


def generalised_advantages(
    values: FloatArray,
    rewards: FloatArray,
    terminated: BoolArray,
    lengths: IntArray,
    gamma: float,
    lambda_: float | FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return advantages and value targets, each (sum(L), ...) like ``rewards``.

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t); A_t = delta_t + gamma lambda A_{t+1}; the target is
    A_t + V(s_t). Nothing is counted after a step that terminated; a segment that ends otherwise
    bootstraps from the value of its last state.

    Args:
        values: (sum(L + 1), ...): every state of every segment, the one after the last step
            included.
        rewards: (sum(L), ...) with any number of columns: accounts, agents.
        terminated: broadcastable to ``rewards``: the step ended the account's episode for good.
        lengths: (S,) steps L of each segment, each >= 1.
        gamma: discount.
        lambda_: GAE's lambda; an array like ``rewards`` says per step how far later steps count.
    """
    stops = np.cumsum(lengths)
    segment = np.arange(len(lengths))
    goes_on = 1.0 - np.broadcast_to(terminated, rewards.shape)
    trace = np.broadcast_to(lambda_, rewards.shape)
    following = values[stops + segment]
    running = np.zeros_like(following)
    advantages = np.empty_like(rewards, dtype=np.float64)
    targets = np.empty_like(advantages)
    for back in range(int(lengths.max(initial=0))):
        live = np.flatnonzero(lengths > back)
        row = stops[live] - 1 - back
        value, on = values[row + live], goes_on[row]
        delta = rewards[row] + gamma * following[live] * on - value
        running[live] = delta + gamma * trace[row] * running[live] * on
        following[live] = value
        advantages[row] = running[live]
        targets[row] = running[live] + value
    return advantages, targets

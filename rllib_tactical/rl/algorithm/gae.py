"""Generalized advantage estimation over episode segments (Schulman et al., 2016, eq. 16)."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray
from rllib_tactical.errors import ArrayError


def generalized_advantages(
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
        values: (sum(L + 1), ..., A) float64: every state of every segment, the one after the last
            step included.
        rewards: (sum(L), ..., A) float64 of A agents, with any axes between: accounts.
        terminated: (sum(L), ..., 1) bool: the step ended the account's episode for good.
        lengths: (S,) integer steps L of each segment, each >= 1.
        gamma: discount.
        lambda_: GAE's lambda; an array (sum(L), ..., 1) float64 says per step how far later steps
            count.

    Raises:
        ArrayError: another rank, shape or dtype; a length below 1; lengths that do not sum to the
            rows of ``rewards``.
    """
    require_shape(lengths, ("S",), np.integer, "lengths")
    require_shape(rewards, ("R", *np.shape(rewards)[1:-1], "A"), np.float64, "rewards")
    steps = int(lengths.sum())
    if lengths.min(initial=1) < 1:
        raise ArrayError(f"lengths must be >= 1, found {lengths.min()}")
    if steps != len(rewards):
        raise ArrayError(f"lengths must sum to {len(rewards)}, the rows of rewards, found {steps}")
    per_step = (*rewards.shape[:-1], 1)
    require_shape(values, (steps + len(lengths), *rewards.shape[1:]), np.float64, "values")
    require_shape(terminated, per_step, np.bool_, "terminated")
    if isinstance(lambda_, np.ndarray):
        require_shape(lambda_, per_step, np.float64, "lambda_")
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

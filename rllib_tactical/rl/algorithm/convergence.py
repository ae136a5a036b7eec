"""Is it still learning? Convergence of episode rewards and trends of losses and entropies."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.names import CRITIC

EPISODES: Final = 100
"""Episodes whose rewards are looked at."""
CHECK_EVERY: Final = 10
"""Episodes between two looks."""
CONVERGED_BELOW: Final = 0.05
"""Coefficient of variation below which training counts as converged."""
TREND_ITERATIONS: Final = 20
"""Iterations over which a trend is fitted."""
TREND_MIN: Final = 5


class Monitor:
    """Keeps the last episode rewards and the last losses; part of the algorithm's state.

    An episode's reward is the sum of the three agents' rewards.
    """

    def __init__(self) -> None:
        self.episodes = 0
        self.clear()

    def clear(self) -> None:
        """Forget the rewards and losses so far, as when the market changes; the count stays."""
        self._rewards: deque[float] = deque(maxlen=EPISODES)
        self._unchecked = 0
        self._variation: float | None = None
        self._converged_at: int | None = None
        self._history: dict[str, deque[float]] = {}

    @property
    def converged(self) -> bool:
        """Whether the rewards varied little when they were last looked at."""
        return self._variation is not None and self._variation < CONVERGED_BELOW

    @property
    def reward(self) -> float | None:
        """Mean of the last 100 episode rewards, None before so many: fewer decide nothing."""
        return float(np.mean(self._rewards)) if len(self._rewards) == EPISODES else None

    def update(self, rewards: list[float], losses: dict[str, float]) -> dict[str, Any]:
        """Take an iteration's ended episodes, in order, and its losses; return the figures.

        ``episodes`` so far; of the last 100 or as many as there are ``reward_mean``,
        ``reward_best``, ``reward_worst`` and ``reward_deviation`` (sample standard deviation);
        ``reward_cv`` their coefficient of variation when it was last looked at, None before 100
        have ended or with a mean of zero; ``converged``: it is below 5%;
        ``episodes_since_convergence``: episodes since the look from which on it has been, None
        while it is not; ``trend_<loss>`` as of ``trend``.
        """
        for reward in rewards:
            self.episodes += 1
            self._unchecked += 1
            self._rewards.append(reward)
            if self._unchecked >= CHECK_EVERY:
                self._unchecked = 0
                self._variation = coefficient_of_variation(list(self._rewards))
                if not self.converged:
                    self._converged_at = None
                elif self._converged_at is None:
                    self._converged_at = self.episodes
        rewards = list(self._rewards)
        figures: dict[str, Any] = {
            "episodes": self.episodes,
            "reward_mean": float(np.mean(rewards)) if rewards else None,
            "reward_best": max(rewards, default=None),
            "reward_worst": min(rewards, default=None),
            "reward_deviation": float(np.std(rewards, ddof=1)) if len(rewards) > 1 else None,
            "reward_cv": self._variation,
            "converged": self.converged,
            "episodes_since_convergence": (
                None if self._converged_at is None else self.episodes - self._converged_at
            ),
        }
        for name, value in losses.items():
            past = self._history.setdefault(name, deque(maxlen=TREND_ITERATIONS))
            past.append(value)
            figures[f"trend_{name}"] = trend(list(past))
        return figures

    def get_state(self) -> dict[str, Any]:
        """Return plain values from which ``set_state`` goes on."""
        return {
            "episodes": self.episodes,
            "rewards": list(self._rewards),
            "unchecked": self._unchecked,
            "variation": self._variation,
            "converged_at": self._converged_at,
            "history": {name: list(values) for name, values in self._history.items()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.clear()
        self.episodes = state["episodes"]
        self._rewards.extend(state["rewards"])
        self._unchecked, self._variation = state["unchecked"], state["variation"]
        # runs of version 1 do not know since when: they count from where they go on
        self._converged_at = state.get("converged_at", self.episodes if self.converged else None)
        for name, values in state["history"].items():
            self._history[name] = deque(values, maxlen=TREND_ITERATIONS)


def coefficient_of_variation(rewards: list[float]) -> float | None:
    """Return sample standard deviation / |mean| of 100 rewards; None with fewer or a mean of 0."""
    if len(rewards) < EPISODES:
        return None
    mean = float(np.mean(rewards))
    if mean == 0.0:
        return None
    return float(np.std(rewards, ddof=1)) / abs(mean)


def trend(values: list[float]) -> float | None:
    """Return how much a line through the values changes, as a share of their mean absolute value.

    -0.5 over 20 iterations: the fitted line falls by half of the typical value. None with fewer
    than five values.
    """
    if len(values) < TREND_MIN:
        return None
    y = np.asarray(values)
    size = float(np.mean(np.abs(y)))
    if not np.isfinite(size) or size == 0.0:
        return None
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = float(x @ y) / float(x @ x)
    return slope * (len(y) - 1) / size


def losses_of(learners: dict[str, Any]) -> dict[str, float]:
    """Return what trends are shown of, from RLlib's results of the learners."""
    losses = {"value_loss": float(learners[CRITIC]["vf_loss"])}
    for agent in AGENTS:
        losses[f"policy_loss_{agent}"] = float(learners[agent]["policy_loss"])
        losses[f"entropy_{agent}"] = float(learners[agent]["entropy"])
    return losses

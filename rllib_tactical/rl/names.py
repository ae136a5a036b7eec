"""Keys that modules, learner and env runners agree on."""

from __future__ import annotations

from typing import Final

CRITIC = "critic"
STATE = "global_state"

ENDED_REWARDS: Final = "ended_episode_rewards"
"""Metric of env runners: the reward of each ended episode, summed over the agents."""

MONITOR: Final = "monitor"

OUTCOME_LOSS: Final = "outcome_loss"
"""Metric of an actor's learner: squared error of the outcomes that its votes predict."""

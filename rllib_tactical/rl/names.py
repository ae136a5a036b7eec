"""Keys that modules, learner and env runners agree on."""

from __future__ import annotations

from typing import Final

CRITIC = "critic"


STATE = "global_state"


ENDED_REWARDS: Final = "ended_episode_rewards"
"""Where env runners log the reward of each episode that ended, all agents together."""


MONITOR: Final = "monitor"

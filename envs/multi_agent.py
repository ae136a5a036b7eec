"""The market replay as an RLlib MultiAgentEnv, for RLlib's stock env runner."""

from __future__ import annotations

from typing import Any

from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv

from envs.parallel import TacticalParallelEnv
from envs.spaces import ACTION_SPACE, OBSERVATION_SPACE
from rllib_tactical.domain.types import AGENTS


class TacticalMultiAgentEnv(ParallelPettingZooEnv):
    """RLlib's own PettingZoo wrapper around ``TacticalParallelEnv``, agents in a fixed order."""

    def __init__(self, env: TacticalParallelEnv) -> None:
        super().__init__(env)
        # the wrapper reads the agents from a set, whose order varies between processes
        self.agents = list(AGENTS)
        self.possible_agents = list(AGENTS)
        self.observation_spaces: dict[str, Any] = dict.fromkeys(AGENTS, OBSERVATION_SPACE)
        self.action_spaces: dict[str, Any] = dict.fromkeys(AGENTS, ACTION_SPACE)

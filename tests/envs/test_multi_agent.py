from __future__ import annotations

from envs.multi_agent import TacticalMultiAgentEnv
from envs.parallel import TacticalParallelEnv
from envs.spaces import ACTION_SPACE
from rllib_tactical.domain.types import AGENTS
from tests.market import random_spec

SPEC = random_spec()


HOLD = {"fvg": 1, "momentum": 1, "entry": 0}


def test_rllib_env_has_fixed_agents_and_ends_all_together():
    env = TacticalMultiAgentEnv(TacticalParallelEnv(SPEC, seed=1))
    assert env.possible_agents == list(AGENTS)
    assert env.action_spaces["entry"] == ACTION_SPACE
    observations, _ = env.reset(seed=2)
    assert list(observations) == list(AGENTS)
    for _ in range(64):
        _, _, terminated, truncated, _ = env.step(HOLD)
    assert truncated["__all__"]
    assert not terminated["__all__"]

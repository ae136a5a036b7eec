"""RLlib makes the environment from its class and ``env_config``."""

import pickle

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.sampling.market_env import MARKET, MarketEnv
from tests.market import random_spec
from tests.rl.segments import open_market


def test_the_environment_replays_the_market_of_its_configuration():
    spec = random_spec()
    env = MarketEnv({MARKET: open_market(spec)})
    assert isinstance(env, MultiAgentEnv)
    observations, infos = env.reset(seed=1)
    assert list(observations) == list(AGENTS)
    assert infos["fvg"]["t"] >= spec.parts[0].history.first_decision


def test_a_checkpoint_finds_it_by_its_name():
    assert pickle.loads(pickle.dumps(MarketEnv)) is MarketEnv

import pytest

from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.rl.algorithm.batches import SCALE, SPEC


@pytest.fixture
def build(ray_instance):
    built = []

    def make(config):
        algorithm = build_config(config, MarketHandle(SPEC), SCALE).build_algo()
        built.append(algorithm)
        return algorithm

    yield make
    for algorithm in built:
        algorithm.stop()

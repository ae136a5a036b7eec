import pytest

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec
from tests.rl.small import small_config

LENGTH = 32
SPEC = random_spec(length=LENGTH)


@pytest.fixture
def build(ray_instance):
    built = []

    def make(runner="batched", callbacks=None, resumed_at=0, spec=SPEC, **changes):
        config = build_config(
            small_config(**changes),
            MarketHandle(spec),
            Standardization.identity(),
            runner=runner,
            resumed_at=resumed_at,
        )
        if callbacks is not None:
            config.callbacks(callbacks)
        built.append(config.build_algo())
        return built[-1]

    yield make
    for algorithm in built:
        algorithm.stop()

"""Stock RLlib trains the same networks by its own runner, minibatches and update loop."""

from __future__ import annotations

import numpy as np
import pytest
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from rllib_tactical.bench.stock_rllib import StockUpdates, stock_config
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.modules import ActorModule, CriticModule
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec
from tests.rl.small import small_config


@pytest.mark.ray
def test_rllibs_own_loop_trains_our_networks(ray_instance: None) -> None:
    spec = random_spec(length=32)
    config = small_config(num_envs=4, steps_per_update=64, batch_size=32)
    handle = MarketHandle(spec)
    stock = stock_config(config, handle, Standardization.identity())
    ours = build_config(config, handle, Standardization.identity(), runner="stock")
    assert (stock.learner_class, ours.learner_class) == (StockUpdates, MappoLearner)
    algorithm = stock.build_algo()
    try:
        assert type(algorithm.env_runner) is MultiAgentEnvRunner
        learner = algorithm.learner_group._learner
        for name in ("configure_optimizers_for_module", "apply_gradients", "postprocess_gradients"):
            assert getattr(StockUpdates, name) is getattr(PPOTorchLearner, name), name
            assert getattr(StockUpdates, name) is not getattr(MappoLearner, name), name
        modules = {name: type(learner.module[name].unwrapped()) for name in learner.module.keys()}  # noqa: SIM118 - not a dictionary
        assert modules.pop(CRITIC) is CriticModule
        assert set(modules.values()) == {ActorModule}
        before = actor_weights_of(algorithm)
        result = algorithm.train()
        after = actor_weights_of(algorithm)
    finally:
        algorithm.stop()
    assert np.isfinite(result["learners"][CRITIC]["vf_loss"])
    for agent in modules:
        assert any((after[n] != v).any() for n, v in before.items() if n.startswith(f"{agent}."))

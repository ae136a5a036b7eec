"""A user's own PPO, from the market's files to a bundle that decides."""

import numpy as np
import pytest
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import UsageError
from rllib_tactical.rl.algorithm.actor_critic import actor_critic_spec
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.export import export_algorithm
from rllib_tactical.rl.sampling.market_env import MARKET, MarketEnv
from tests.rl.small import small_config

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_rllibs_own_ppo_becomes_a_bundle(prepared, ray_instance, tmp_path):
    config = small_config()
    ppo = (
        PPOConfig()
        .environment(MarketEnv, env_config={MARKET: prepared.handle()})
        .env_runners(num_env_runners=0)
        .multi_agent(policies=tuple(AGENTS), policy_mapping_fn=lambda agent, *a, **k: agent)
        .rl_module(rl_module_spec=actor_critic_spec(config, prepared.standardization))
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
    )
    algorithm = ppo.build_algo()
    try:
        algorithm.train()
        with pytest.raises(UsageError, match=r"instruments .SYNTH., found 'OTHER'"):
            export_algorithm(algorithm, prepared, config, tmp_path / "bundle", "OTHER")
        export_algorithm(algorithm, prepared, config, tmp_path / "bundle")
        weights = actor_weights_of(algorithm)
    finally:
        algorithm.stop()
    bundle = load_bundle(tmp_path / "bundle")
    np.testing.assert_equal(bundle.weights, weights)
    training = bundle.manifest["training"]
    assert training["algorithm"] == "ray.rllib.algorithms.ppo.ppo.PPO"
    assert (training["iteration"], training["env_steps"]) == (1, 64)
    assert training["data"]["name"] == "bars.parquet"
    assert bundle.temperature_scale in config.training.temperature_scales
    assert bundle.manifest["metrics"]["validation"]["temperature_scale"] == bundle.temperature_scale
    logits = bundle.engine().logits(np.zeros((1, 60, 7), np.float32))
    assert logits.shape == (1, 3, 3)

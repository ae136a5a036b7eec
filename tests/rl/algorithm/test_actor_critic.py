"""RLlib's own algorithms on the market: what they ask of modules, and that they learn."""

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS

from rllib_tactical.bundle.networks import Actor, Standardization
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.actor_critic import ActorCriticModule, actor_critic_spec
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.sampling.market_env import MARKET, MarketEnv
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec
from tests.rl.small import small_config

SCALE = Standardization((0.1,) * 7, (0.5,) * 7)


def module():
    built = actor_critic_spec(small_config(), SCALE).rl_module_specs["fvg"].build()
    assert isinstance(built, ActorCriticModule)
    return built


def test_every_agent_has_the_actor_that_a_bundle_holds():
    specs = actor_critic_spec(small_config(), SCALE).rl_module_specs
    assert list(specs) == list(AGENTS)
    built = specs["momentum"].build()
    assert isinstance(built.actor, Actor)
    assert float(built.actor.temperature) == pytest.approx(1.2)
    assert built.actor.mean.tolist() == pytest.approx(SCALE.mean)


def test_values_are_of_the_matrix_alone():
    fvg, inputs = module(), torch.randn(5, 60, 7)
    values = fvg.compute_values({Columns.OBS: inputs})
    assert values.shape == (5,)
    scaled = ((inputs - 0.1) / 0.5).flatten(1)
    expected = fvg.value.heads(fvg.value.body(scaled))[:, 0]
    torch.testing.assert_close(values, expected)


def test_the_target_is_a_copy_that_stays_behind():
    fvg, batch = module(), {Columns.OBS: torch.randn(4, 60, 7)}
    fvg.make_target_networks()
    before = fvg.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS]
    with torch.no_grad():
        fvg.actor.out.bias += 1.0
    torch.testing.assert_close(fvg.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS], before)
    assert (fvg.forward_train(batch)[Columns.ACTION_DIST_INPUTS] != before).all()
    assert fvg.get_target_network_pairs() == [(fvg.actor, fvg.target_actor)]


def test_runners_get_the_actor_only():
    fvg = module()
    fvg.make_target_networks()
    assert {name.partition(".")[0] for name in fvg.get_state(inference_only=True)} == {"actor"}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("algorithm_config", [IMPALAConfig, APPOConfig])
def test_rllibs_asynchronous_algorithms_learn_on_the_market(ray_instance, algorithm_config):
    config = (
        algorithm_config()
        .environment(MarketEnv, env_config={MARKET: MarketHandle(random_spec(length=32))})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=16)
        .learners(num_learners=0)
        .multi_agent(policies=tuple(AGENTS), policy_mapping_fn=lambda agent, *a, **k: agent)
        .rl_module(rl_module_spec=actor_critic_spec(small_config(), SCALE))
        .training(train_batch_size_per_learner=32)
        .reporting(min_time_s_per_iteration=0)
    )
    algorithm = config.build_algo()
    try:
        before = actor_weights_of(algorithm)
        for _ in range(100):
            learned = algorithm.train()["learners"].get("fvg", {})
            if learned.get("num_module_steps_trained_lifetime", 0) >= 64:
                break
        after = actor_weights_of(algorithm)
    finally:
        algorithm.stop()
    for agent in AGENTS:
        assert (before[f"{agent}.out.weight"] != after[f"{agent}.out.weight"]).any()
    assert all(np.isfinite(value).all() for value in after.values())
    assert np.isfinite(learned["total_loss"])

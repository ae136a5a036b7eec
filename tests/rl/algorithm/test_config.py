"""RLlib's configuration as it is made from ours, without a Ray."""

import dataclasses

import numpy as np
import pytest

from envs.multi_agent import TacticalMultiAgentEnv
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import MAX_SEED
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.ablations import IndependentCriticModule, JointLearner
from rllib_tactical.rl.algorithm.config import build_config, module_spec
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.mappo import Mappo
from rllib_tactical.rl.algorithm.modules import ActorModule, CriticModule
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.env_runner import BatchedEnvRunner
from tests.market import random_spec
from tests.rl.segments import open_market
from tests.rl.small import small_config

MARKET = open_market(random_spec(length=32))
SCALE = Standardization((0.1,) * 7, (0.5,) * 7)


def built(config=None, **more):
    return build_config(config or small_config(), MARKET, SCALE, **more)


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31, MAX_SEED])
def test_a_worker_has_room_for_its_number_in_the_seed(seed):
    found = built(small_config(seed=seed))
    assert found.seed == seed if seed < 2**31 else 0 <= found.seed < 2**31


def test_a_resumed_run_goes_on_with_a_seed_of_its_own():
    seeds = [
        built(small_config(seed=seed), resumed_at=k).seed for seed in (3, 4) for k in (0, 5, 6)
    ]
    assert (seeds[0], seeds[3]) == (3, 4)
    assert len(set(seeds)) == 6
    assert built(small_config(seed=3), resumed_at=5).seed == seeds[1]


@pytest.mark.parametrize(("runners", "fragment"), [(0, 64), (1, 64), (4, 16)])
def test_an_iteration_samples_its_steps_however_many_runners_there_are(runners, fragment):
    found = built(small_config(num_env_runners=runners, num_envs=8, steps_per_update=512))
    assert found.num_envs_per_env_runner == 8
    assert found.rollout_fragment_length == fragment
    assert fragment * 8 * max(1, runners) == 512


@pytest.mark.parametrize(("learners", "batch", "minibatch"), [(0, 512, 256), (2, 256, 128)])
def test_learners_share_the_batch(learners, batch, minibatch):
    found = built(small_config(num_learners=learners))
    assert found.train_batch_size_per_learner == batch
    assert found.minibatch_size == minibatch


def test_every_module_has_its_own_rate_and_a_line_to_its_end():
    config = small_config(
        iterations=10, actor_lr=1e-3, actor_lr_end_factor=0.1, entropy_coef=0.02, critic_lr=7e-4
    )
    momentum = dataclasses.replace(config.agents.momentum, learning_rate=4e-3)
    config = dataclasses.replace(
        config, agents=dataclasses.replace(config.agents, momentum=momentum)
    )
    found = built(config)
    rates = {
        module: changed["lr"]
        for module, changed in found.algorithm_config_overrides_per_module.items()
    }
    assert rates.pop(CRITIC) == 7e-4
    steps = 10 * 512
    assert rates == {
        "fvg": [[0, 1e-3], [steps, pytest.approx(1e-4)]],
        "momentum": [[0, 4e-3], [steps, pytest.approx(4e-4)]],
        "entry": [[0, 1e-3], [steps, pytest.approx(1e-4)]],
    }
    assert found.entropy_coeff == 0.02  # its end factor is 1


def test_settings_of_the_update_reach_rllib():
    config = small_config(gamma=0.9, gae_lambda=0.8, clip_ratio=0.3, epochs=3)
    found = built(config)
    assert (found.gamma, found.lambda_, found.clip_param, found.num_epochs) == (0.9, 0.8, 0.3, 3)
    assert (found.vf_loss_coeff, found.grad_clip) == (0.5, 0.5)
    assert not found.use_kl_loss
    assert found.algo_class is Mappo
    assert found.learner_class is MappoLearner


def test_the_stock_runner_steps_one_account_per_bar():
    ours, stock = built(), built(runner="stock")
    assert (ours.env_runner_cls, stock.env_runner_cls) == (BatchedEnvRunner, None)
    assert [c.env_config["accounts_per_bar"] for c in (ours, stock)] == [4, 1]


def test_the_stage_and_the_place_of_records_travel_to_the_runners(tmp_path):
    found = built(stage=2, record_to=tmp_path).env_config
    assert (found["stage"], found["record_to"], found["market"]) == (2, tmp_path, MARKET)


def test_the_environment_is_that_of_the_market():
    config = build_config(small_config(), MARKET, SCALE)
    env = config.env(config.env_config)
    assert isinstance(env, TacticalMultiAgentEnv)
    assert set(env.reset(seed=1)[0]) == set(AGENTS)


@pytest.mark.parametrize("runners", range(8))
@pytest.mark.parametrize(("envs", "learners"), [(32, 0), (12, 0), (12, 3)])
def test_runners_of_any_number_sample_an_update_together(runners, envs, learners):
    """At least its steps, and less than one more step of one runner's accounts."""
    config = build_config(
        small_config(num_env_runners=runners, num_envs=envs, num_learners=learners), MARKET, SCALE
    )
    config.validate()
    workers = range(1, runners + 1) if runners else [0]
    sampled = sum(config.get_rollout_fragment_length(k) * envs for k in workers)
    assert 0 <= sampled - config.total_train_batch_size < envs
    assert 512 - max(1, learners) < config.total_train_batch_size <= 512
    if 512 % (envs * max(1, runners)) == 0:
        assert config.rollout_fragment_length == 512 // (envs * max(1, runners))


def test_each_actor_has_its_own_attention_and_temperature():
    config = TacticalConfig()
    fvg = dataclasses.replace(
        config.agents.fvg, attention_weights=(0.4,) + (0.1,) * 6, exploration_temperature=2.5
    )
    config = dataclasses.replace(config, agents=dataclasses.replace(config.agents, fvg=fvg))
    specs = module_spec(config, SCALE).rl_module_specs
    assert {specs[agent].module_class for agent in AGENTS} == {ActorModule}
    made = specs["fvg"].build()
    assert float(made.actor.temperature) == 2.5
    np.testing.assert_allclose(made.actor.mean.numpy().ravel(), 0.1)
    assert specs["fvg"].model_config["attention"] == fvg.attention_weights
    assert specs["entry"].model_config["attention"] == config.agents.entry.attention_weights


def test_the_critic_is_held_by_learners_only():
    specs = module_spec(small_config(), SCALE).rl_module_specs
    assert set(specs) == {*AGENTS, CRITIC}
    assert [name for name, spec in specs.items() if spec.learner_only] == [CRITIC]
    assert specs[CRITIC].module_class is CriticModule


def test_ablations_take_the_place_of_their_classes():
    joint = dataclasses.replace(small_config(credit="all"), model=ModelConfig(actors="joint"))
    assert issubclass(built(joint).learner_class, JointLearner)
    alone = dataclasses.replace(small_config(), model=ModelConfig(critic="independent"))
    critic = module_spec(alone, SCALE).rl_module_specs[CRITIC].module_class
    assert issubclass(critic, IndependentCriticModule)

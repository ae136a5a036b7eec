"""The learner: minibatches, rates, frozen actors, updates that are left out, the joint ratio."""

import dataclasses

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_TRAINED

from rllib_tactical.config.schema import ModelConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.ablations import JointAction
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.learner import BATCH, SKIPPED
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.rl.algorithm.batches import (
    SCALE,
    SPEC,
    STEPS,
    configured,
    episodes_of,
    update,
    weights_of,
)
from tests.rl.segments import segment

pytestmark = pytest.mark.ray


def test_learners_with_shards_of_different_size_stay_in_step(build):
    """25 rows and 48 minibatches for two learners: one that made more steps would wait for ever."""
    algorithm = build(configured(num_learners=2, batch_size=4, accounts_per_bar=1))
    episodes = [segment(13, 400), segment(12, 700)]
    algorithm.learner_group.update(episodes=episodes, num_epochs=2, minibatch_size=2, timesteps={})
    one, other = (
        answer.get()["fvg"]["actor.out.bias"]
        for answer in algorithm.learner_group.foreach_learner(
            lambda learner: learner.get_state()["rl_module"]
        )
    )
    np.testing.assert_array_equal(one, other)


def test_an_actor_may_be_frozen_and_the_critic_learns_on(build):
    config = build_config(configured(), MarketHandle(SPEC), SCALE)
    algorithm = config.multi_agent(policies_to_train=["fvg"]).build_algo()
    try:
        before = weights_of(algorithm)
        update(algorithm, 1)
        after = weights_of(algorithm)
        moved = {m for m in after for n, v in after[m].items() if np.any(v != before[m][n])}
        assert moved == {"fvg", CRITIC}
    finally:
        algorithm.stop()


def test_metrics_count_account_steps_and_an_update_that_is_not_finite_is_left_out(build):
    algorithm = build(configured())
    before = weights_of(algorithm)
    episodes = episodes_of(1)
    episodes[0].logp[3, 1, 0] = -np.inf  # the fvg agent's ratio overflows
    (result,) = algorithm.learner_group.update(
        episodes=episodes, num_epochs=2, minibatch_size=STEPS, timesteps={}
    )
    assert result["__all_modules__"][NUM_ENV_STEPS_TRAINED].peek() == 2 * STEPS
    assert [result[m][SKIPPED].peek() for m in (*AGENTS, CRITIC)] == [2, 0, 0, 0]
    after = weights_of(algorithm)
    for name, value in after["fvg"].items():
        np.testing.assert_array_equal(value, before["fvg"][name])
    assert any((after["momentum"][n] != before["momentum"][n]).any() for n in after["momentum"])


def test_rates_follow_their_line_by_the_updates_made(ray_instance):
    """Whatever the number of steps that an iteration sampled; an agent may have its own line."""
    config = configured(iterations=4, actor_lr_end_factor=0.0, entropy_end_factor=0.5)
    momentum = dataclasses.replace(config.agents.momentum, learning_rate=4e-3)
    agents = dataclasses.replace(config.agents, momentum=momentum)
    config = dataclasses.replace(config, agents=agents)
    handle = MarketHandle(SPEC)
    algorithm = build_config(config, handle, SCALE).build_algo()
    try:
        algorithm.train()
        algorithm.train()
        learner = algorithm.learner_group._learner
        learner.before_gradient_based_update(timesteps={"num_env_steps_sampled_lifetime": 10**9})
        rates = {
            name: group["lr"]
            for name, optimizer in learner._named_optimizers.items()
            for group in optimizer.param_groups
        }
        assert {rate for name, rate in rates.items() if "critic" in name} == {1e-3}
        for agent, rate in (("fvg", 1e-3), ("momentum", 4e-3), ("entry", 1e-3)):
            (found,) = [found for name, found in rates.items() if agent in name]
            assert found == pytest.approx(rate * 2 / 4)
        for agent in AGENTS:
            coefficient = learner.entropy_coeff_schedulers_per_module[agent].get_current_value()
            assert float(coefficient) == pytest.approx(0.03 * 3 / 4)
    finally:
        algorithm.stop()


def test_one_joint_agent_has_one_advantage_and_one_ratio(ray_instance):
    """The gradient by hand: one clipped surrogate of the product of the three ratios."""
    config = dataclasses.replace(configured(credit="all"), model=ModelConfig(actors="joint"))
    handle = MarketHandle(SPEC)
    algorithm = build_config(config, handle, SCALE).build_algo()
    try:
        learner = algorithm.learner_group._learner
        episodes = [segment(6, 900, accounts=2, seed=3)]
        made_of = learner.config.learner_config_dict[BATCH]
        connector = made_of(market=handle, gamma=0.99, lambda_=0.95)
        assert isinstance(connector, JointAction)
        made = connector(rl_module=learner.module, batch={}, episodes=episodes)
        advantages = [made[agent][Postprocessing.ADVANTAGES] for agent in AGENTS]
        torch.testing.assert_close(advantages[0], advantages[1])
        torch.testing.assert_close(advantages[0], advantages[2])
        assert advantages[0].count_nonzero()

        torch.manual_seed(0)
        logits = {agent: torch.randn(6, 3, requires_grad=True) for agent in AGENTS}
        outputs = {agent: {Columns.ACTION_DIST_INPUTS: logits[agent]} for agent in AGENTS}
        losses = learner.compute_losses(fwd_out=outputs, batch=made)
        found = torch.autograd.grad(sum(losses.values()), list(logits.values()))

        ratio, entropy = torch.ones(6, 2), torch.zeros(())
        for agent in AGENTS:
            logp = torch.log_softmax(logits[agent], dim=-1)
            taken = logp.gather(-1, made[agent][Columns.ACTIONS].long())
            ratio = ratio * (taken - made[agent][Columns.ACTION_LOGP]).exp()
            entropy = entropy - (logp.exp() * logp).sum(-1).mean()
        clip = config.training.clip_ratio
        gain = torch.min(ratio * advantages[0], ratio.clamp(1 - clip, 1 + clip) * advantages[0])
        loss = -gain.mean() - config.training.entropy_coef * entropy
        torch.testing.assert_close(found, torch.autograd.grad(loss, list(logits.values())))
        algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.parametrize(
    "changes",
    [{}, {"credit": "counterfactual"}, {"precision": "bfloat16"}],
    ids=["decisive", "counterfactual", "bfloat16"],
)
def test_two_threads_learn_bit_for_bit_what_one_does(build, changes):
    """Weights, optimizers and metrics, with dropout, which draws, and an actor left out once."""
    found = []
    for threads in (1, 2):
        config = configured(learner_threads=threads, batch_size=STEPS // 4, epochs=3, **changes)
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, dropout_rate=0.1)
        )
        algorithm = build(config)
        learner = algorithm.learner_group._learner
        assert (learner._threads is not None) == (threads == 2)
        torch.manual_seed(5)
        results = []
        for seed in (1, 2, 3):
            episodes = episodes_of(seed)
            if seed == 2:
                episodes[0].logp[3, 1, 0] = -np.inf  # the fvg agent's ratio overflows
            (result,) = algorithm.learner_group.update(
                episodes=episodes, num_epochs=3, minibatch_size=STEPS // 4, timesteps={}
            )
            results.append(
                {
                    (module, name): np.asarray(stats.peek())
                    for module in (*AGENTS, CRITIC)
                    for name, stats in result[module].items()
                }
            )
        moments = [
            value.clone()
            for optimizer in learner._named_optimizers.values()
            for state in optimizer.state.values()
            for value in state.values()
        ]
        found.append((weights_of(algorithm), moments, results, torch.get_rng_state()))
    (one, one_moments, one_results, one_draws), (two, moments, results, draws) = found
    for module, weights in one.items():
        for name, value in weights.items():
            np.testing.assert_array_equal(two[module][name], value, err_msg=f"{module}.{name}")
    assert all(torch.equal(*pair) for pair in zip(one_moments, moments, strict=True))
    for before, after in zip(one_results, results, strict=True):
        assert before.keys() == after.keys()
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, err_msg=str(key))
    assert torch.equal(one_draws, draws)


def test_modules_that_need_each_other_are_computed_together(build):
    config = dataclasses.replace(configured(credit="all"), model=ModelConfig(actors="joint"))
    assert build(config).learner_group._learner._threads is None

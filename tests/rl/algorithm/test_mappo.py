"""The learner against MAPPO written by hand: the same batch must give the same weights."""

import dataclasses

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_TRAINED

from rllib_tactical.bench.plain_mappo import PlainMappo, Rollout
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.ablations import JointAction
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.learner import BATCH, SKIPPED
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec
from tests.rl.segments import segment

pytestmark = pytest.mark.ray

SPEC = random_spec()
SCALE = Standardization((0.1,) * 7, (0.5,) * 7)
STEPS = 192


def configured(critic_heads="per_agent", **changes):
    training = TrainingConfig(
        actor_lr_end_factor=1.0,  # the loop by hand has no schedules
        steps_per_update=STEPS,
        batch_size=STEPS,  # one minibatch: shuffling changes nothing but the order of sums
        epochs=2,
        num_envs=8,
        accounts_per_bar=4,
        num_env_runners=0,
        max_grad_norm=0.05,  # binds
        entropy_coef=0.03,
    )
    return TacticalConfig(
        training=dataclasses.replace(training, **changes),
        model=ModelConfig(hidden_sizes=(64, 32), critic_heads=critic_heads),
    )


def episodes_of(seed):
    """Return 192 steps in two groups of four accounts; one account goes bankrupt on the way."""
    first = segment(24, 400, accounts=4, seed=seed)
    first.terminated[9, 2] = True
    second = segment(24, 900, accounts=4, ended=True, seed=seed + 1)
    return [first, second]


def rollout_of(episodes):
    """Return the same steps as one column, which the plain loop walks through step by step."""
    parts = [
        part for whole in episodes for k in range(whole.accounts) for part in whole.by_account(k)
    ]
    cut = np.concatenate([np.arange(len(part)) == len(part) - 1 for part in parts])

    def column(name, stop=None):
        return np.concatenate([getattr(part, name)[:stop] for part in parts])

    rewards = column("rewards").astype(np.float64)
    return Rollout(
        t=column("t", -1)[:, None].astype(np.int64),
        account=column("account", -1),
        actions=column("actions").astype(np.int64),
        logp=column("logp"),
        rewards=rewards,
        terminated=column("terminated"),
        cut=cut[:, None],
        next_t=np.concatenate([part.t[1:] for part in parts])[:, None].astype(np.int64),
        next_account=np.concatenate([part.account[1:] for part in parts]),
    )


def plain_of(config, weights):
    plain = PlainMappo(config, SPEC, SCALE)
    for i, agent in enumerate(AGENTS):
        plain.actors[i].load_state_dict(under("actor.", weights[agent]))
    plain.critic.load_state_dict(under("critic.", weights[CRITIC]))
    return plain


def under(prefix, weights):
    return {
        name.removeprefix(prefix): torch.as_tensor(value)
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def largest_difference(plain, weights):
    networks = {**dict(zip(AGENTS, plain.actors, strict=True)), CRITIC: plain.critic}
    return max(
        float((value - torch.as_tensor(weights[module][f"{prefix}.{name}"])).abs().max())
        for module, network in networks.items()
        for prefix in ["critic" if module == CRITIC else "actor"]
        for name, value in network.state_dict().items()
    )


def weights_of(algorithm):
    modules = [*AGENTS, CRITIC]
    return {m: dict(w) for m, w in algorithm.learner_group.get_weights(modules).items()}


def update(algorithm, seed):
    algorithm.learner_group.update(
        episodes=episodes_of(seed), num_epochs=2, minibatch_size=STEPS, timesteps={}
    )


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


@pytest.mark.parametrize(
    ("learners", "heads"), [(0, "per_agent"), (0, "shared"), (1, "per_agent"), (2, "per_agent")]
)
def test_updates_equal_those_written_by_hand(build, learners, heads):
    """GAE, normalization, both losses, clipping by module and Adam, over three batches.

    With two learners the statistics and gradients come from two shards of each batch.
    """
    config = configured(heads, num_learners=learners)
    algorithm = build(config)
    before = weights_of(algorithm)
    plain = plain_of(config, before)
    assert largest_difference(plain, before) == 0.0
    for seed in (1, 2, 3):
        update(algorithm, seed)
        plain.update(rollout_of(episodes_of(seed)))
    after = weights_of(algorithm)
    assert largest_difference(plain, before) > 1e-3
    assert largest_difference(plain, after) < 1e-5
    scale = [torch.as_tensor(after[CRITIC][name]) for name in ("moment1", "moment2")]
    weight = after[CRITIC]["moment_weight"]
    np.testing.assert_allclose(weight, plain.weight, rtol=1e-6)
    np.testing.assert_allclose(scale[0], plain.moment1, atol=1e-6)
    np.testing.assert_allclose(scale[1], plain.moment2, atol=1e-6)


def test_a_restored_learner_goes_on_with_the_same_critic(build, tmp_path):
    """Its weights, its moments and its optimizer: the next update of both is the same."""
    first = build(configured())
    update(first, 1)
    first.save_to_path(str(tmp_path / "saved"))
    second = build(configured())
    second.restore_from_path(str(tmp_path / "saved"))
    for algorithm in (first, second):
        torch.manual_seed(0)
        update(algorithm, 2)
    one, other = weights_of(first), weights_of(second)
    assert set(one[CRITIC]) >= {"moment1", "moment2", "moment_weight"}
    for module, weights in one.items():
        for name, value in weights.items():
            np.testing.assert_array_equal(value, other[module][name], err_msg=f"{module}.{name}")


def test_bfloat16_takes_nearly_the_steps_of_float32(build):
    """The change of all weights over three batches: within a cosine of 0.9, its length to 5%."""
    moves = []
    for precision in ("float32", "bfloat16"):
        algorithm = build(configured(precision=precision))
        before = weights_of(algorithm)
        for seed in (1, 2, 3):
            update(algorithm, seed)
        after = weights_of(algorithm)
        moves.append(
            {
                module: np.concatenate([np.ravel(after[module][n] - w[n]) for n in w])
                for module, w in before.items()
            }
        )
    for module, exact in moves[0].items():
        reduced = moves[1][module]
        assert (exact != reduced).any()
        assert exact @ reduced > 0.9 * np.linalg.norm(exact) * np.linalg.norm(reduced), module
        np.testing.assert_allclose(np.linalg.norm(reduced), np.linalg.norm(exact), rtol=0.05)


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
    config = dataclasses.replace(configured(), model=ModelConfig(actors="joint"))
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

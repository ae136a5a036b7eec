"""The batched env runner: what it records, and what RLlib's users expect of an env runner."""

import numpy as np
import pytest
import ray
import torch
from ray.rllib.utils.metrics import (
    EPISODE_RETURN_MEAN,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_EPISODES,
)
from scipy.stats import ks_2samp

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.connector import as_joint_episode
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.rl.sampling.conftest import LENGTH, SPEC
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


def test_rllibs_stock_runner_trains_on_the_same_learner(build):
    algorithm = build("stock", num_envs=4, steps_per_update=64, batch_size=32)
    result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled"] >= 64
    assert np.isfinite(result["learners"]["critic"]["vf_loss"])


def test_whole_episodes_on_request(build):
    runner = build().env_runner
    episodes = runner.sample(num_episodes=5, explore=False)
    assert len(episodes) == 5
    for episode in episodes:
        assert len(episode) == episode.env_steps() == LENGTH
        assert episode.is_truncated
        assert (np.diff(episode.t) == 1).all()
    assert runner.get_metrics()[NUM_EPISODES].peek() == 5
    segments = runner.sample(num_timesteps=160, explore=True)
    assert sum(part.env_steps() for part in segments) == 160
    assert (np.concatenate([segment.logp for segment in segments]) < 0).all()


def test_rllibs_own_evaluation_gets_the_episodes_it_asks_for(ray_instance):
    """By its default unit, which comes with another batch mode than training's."""
    config = build_config(small_config(), MarketHandle(SPEC), Standardization.identity())
    algorithm = config.evaluation(evaluation_interval=1, evaluation_duration=10).build_algo()
    try:
        found = algorithm.evaluate()["env_runners"]
        assert (found[NUM_EPISODES], found[NUM_ENV_STEPS_SAMPLED]) == (10, 10 * LENGTH)
        assert found["episode_len_mean"] == LENGTH
        # beside training it asks for what a time allows
        segments = algorithm.env_runner.sample(num_timesteps=2.5 * 32)
        assert sum(part.env_steps() for part in segments) == 3 * 32
    finally:
        algorithm.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("runners", "evaluators"), [(0, 0), (0, 1), (1, 1)])
def test_evaluation_has_runners_of_its_own(ray_instance, runners, evaluators):
    """The newest weights trade; every episode is another one, also where training has copies."""
    handle, scale = MarketHandle(SPEC), Standardization.identity()
    config = build_config(small_config(num_env_runners=runners), handle, scale)
    algorithm = evaluated(config, evaluators).build_algo()
    try:
        found = algorithm.train()["evaluation"]["env_runners"]
        assert (found[NUM_EPISODES], found[NUM_ENV_STEPS_SAMPLED]) == (12, 12 * LENGTH)
        algorithm.evaluate()
        traded, size, starts = algorithm.eval_env_runner_group.foreach_env_runner(
            lambda runner: (
                weights_of(runner),
                runner.env.replay.group_size,
                {int(part.t[0]) for part in runner.sample(num_episodes=12)},
            ),
            local_env_runner=not evaluators,
        )[0]
        assert size == 1
        assert len(starts) > 10  # copies of a group of four would start on three or four bars
        for name, value in actor_weights_of(algorithm).items():
            np.testing.assert_array_equal(traded[name], value, err_msg=name)
    finally:
        algorithm.stop()


def test_training_goes_on_as_without_evaluation(ray_instance):
    """In the same process, on accounts of the same number, each on its own bars."""
    weights = []
    for evaluates in (False, True):
        settings = small_config(accounts_per_bar=1)
        config = build_config(settings, MarketHandle(SPEC), Standardization.identity())
        algorithm = (evaluated(config, 0) if evaluates else config).build_algo()
        try:
            assert all(("evaluation" in algorithm.train()) == evaluates for _ in range(2))
            episodes = algorithm.env_runner.episodes()
            weights.append(actor_weights_of(algorithm) | {"returns": episodes["returns"]})
            if evaluates:  # which begins nothing where training stands
                algorithm.eval_env_runner.set_state(algorithm.env_runner.get_state())
                assert algorithm.eval_env_runner.episodes() is None
        finally:
            algorithm.stop()
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value, err_msg=name)


def evaluated(config, runners):
    return config.evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=runners,
        evaluation_duration=12,
        evaluation_config={"explore": False},
    )


def weights_of(runner):
    return {
        f"{agent}.{name.removeprefix('actor.')}": value.numpy().copy()
        for agent in AGENTS
        for name, value in runner.module[agent].state_dict().items()
    }


def test_a_group_gives_one_whole_episode_not_copies(build):
    """Where RLlib evaluates on the runner that trains."""
    runner = build().env_runner
    assert runner.env.replay.group_size == 4
    episodes = runner.sample(num_episodes=8, explore=False)
    assert len({int(episode.t[0]) for episode in episodes}) == 8


def test_whole_episodes_are_those_that_the_metrics_describe(build):
    runner = build().env_runner
    runner.sample(num_timesteps=32 * LENGTH)
    earlier = len(runner._ended)
    episodes = runner.sample(num_episodes=3)
    assert len(runner._ended) == earlier + 3
    described = sorted(float(returns.sum()) for _, returns in runner._ended[earlier:])
    np.testing.assert_allclose(sorted(e.get_return() for e in episodes), described, atol=1e-4)


def test_a_forced_reset_begins_whole_episodes(build):
    """As remote evaluation by time steps asks for: cut ones would count as short episodes."""
    segments = build().env_runner.sample(num_timesteps=32 * LENGTH, force_reset=True)
    assert {len(part) for part in segments} == {LENGTH}


def test_random_actions_do_not_ask_the_actors(build):
    segments = build().env_runner.sample(num_timesteps=512, random_actions=True)
    for part in segments:
        np.testing.assert_allclose(part.logp, np.log(1 / 3), atol=1e-6)


def test_runners_that_do_not_divide_an_update_sample_all_of_it(build):
    algorithm = build(num_env_runners=2, num_envs=12)  # 512 of 24: 22 steps and 21
    result = algorithm.train()
    assert result["env_runners"][NUM_ENV_STEPS_SAMPLED] == 12 * (22 + 21)
    assert algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"] == 2 * 516


def test_two_runners_draw_different_bars(build):
    group = build(num_env_runners=2, num_envs=16).env_runner_group
    one, other = group.foreach_env_runner(
        lambda runner: [part.t[0] for part in runner.sample(num_timesteps=64)],
        local_env_runner=False,
    )
    assert not set(one) & set(other)


def test_complete_episodes_as_batches_are_refused(ray_instance):
    config = build_config(small_config(), MarketHandle(SPEC), Standardization.identity())
    with pytest.raises(TrainingError, match="batch_mode"):
        config.env_runners(batch_mode="complete_episodes").build_algo()


def test_metrics_count_account_steps(build):
    runner = build().env_runner
    runner.sample(num_timesteps=32 * LENGTH)
    metrics = runner.get_metrics()
    assert metrics[NUM_ENV_STEPS_SAMPLED].peek() == 32 * LENGTH
    assert [metrics[NUM_AGENT_STEPS_SAMPLED][agent].peek() for agent in AGENTS] == [1024] * 3
    assert metrics[NUM_EPISODES].peek() >= 32  # the first ones are cut at a random bar
    assert np.isfinite(metrics[EPISODE_RETURN_MEAN].peek())


def test_recorded_probabilities_are_those_of_the_actors(build):
    runner = build().env_runner
    segment = runner.sample(num_timesteps=64)[0]
    inputs = torch.from_numpy(SPEC.parts[0].history.inputs.gather(segment.t[:-1].astype(np.int64)))
    for i, agent in enumerate(AGENTS):
        with torch.no_grad():
            expected = torch.log_softmax(runner.module[agent].actor(inputs), -1).numpy()
        chosen = np.take_along_axis(expected, segment.actions[..., i].astype(int), 1)
        np.testing.assert_allclose(segment.logp[..., i], chosen, atol=1e-5)


def test_seeded_sampling_repeats(build):
    def sampled():
        segments = build().env_runner.sample(num_timesteps=64)
        return np.concatenate([np.r_[s.t, s.actions.ravel()] for s in segments])

    np.testing.assert_array_equal(sampled(), sampled())
    # the seed asks for deterministic algorithms, but not for NaN in all fresh memory
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_a_resumed_run_draws_other_bars(build):
    def starts(resumed_at):
        segments = build(resumed_at=resumed_at).env_runner.sample(num_timesteps=64)
        return sorted(int(s.t[0]) for s in segments)

    assert starts(0) != starts(2)
    assert starts(2) == starts(2)


def test_group_size_must_divide_the_accounts():
    with pytest.raises(ConfigError, match=r"groups of accounts_per_bar \(4\)"):
        SPEC.replays(10, seed=0, group_size=4)


def test_episodes_do_not_all_end_together(build):
    segments = build().env_runner.sample(num_timesteps=32 * LENGTH)
    assert len({len(s) for s in segments if s.is_done}) > 4


def test_a_bankrupt_account_leaves_its_group_together(build):
    """One account's end is a flag in the group's segment; the rest of the group goes on."""
    runner = build().env_runner
    runner.sample(num_timesteps=32)  # every group has begun
    simulator = runner.env.replay.replays[0].simulator
    simulator.cash[5] = -1.0
    segments = runner.sample(num_timesteps=32 * 4)
    assert {part.accounts for part in segments} == {4}
    group = next(part for part in segments if part.terminated.any())
    assert group.terminated[0].tolist() == [False, True, False, False]
    assert group.terminated.sum() == 1
    assert not group.is_terminated
    assert len(group) > 1
    assert simulator.equity[5] > 0


def test_both_runners_produce_the_same_distribution_of_episodes(build):
    """Two samples of 160 episodes of one policy: returns, trades' bars and actions agree."""
    stock = build("stock", num_envs=8, steps_per_update=64, batch_size=32, seed=1)
    batched = build(num_envs=8, accounts_per_bar=1, seed=2)
    state = stock.env_runner.module.get_state()
    state["fvg"]["actor.out.bias"] = np.array([1.5, 0.0, -0.5], np.float32)  # a policy with a lean
    for algorithm in (stock, batched):
        algorithm.env_runner.module.set_state(state)
    samples = [
        [as_joint_episode(episode) for episode in algorithm.env_runner.sample(num_episodes=160)]
        for algorithm in (stock, batched)
    ]
    figures = {
        "return": lambda e: e.rewards.sum(),
        "fvg return": lambda e: e.rewards[..., 0].sum(),
        "bars in a position": lambda e: (e.account[:, :, 0] != 0).sum(),
        "first bar": lambda e: e.t[0],
        "longs": lambda e: (e.actions[..., 0] == 0).sum(),
        "log probability": lambda e: e.logp.sum(),
    }
    for name, figure in figures.items():
        one, other = ([float(figure(e)) for e in sample] for sample in samples)
        assert ks_2samp(one, other).pvalue > 1e-3, name
        if name == "longs":
            assert np.mean(one) > 0.5 * LENGTH


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"num_envs": 64, "accounts_per_bar": 1, "steps_per_update": 2048}, 24.0),
        ({"num_envs": 64, "accounts_per_bar": 8, "steps_per_update": 4096}, 15.0),
        (
            {
                "num_envs": 64,
                "accounts_per_bar": 8,
                "steps_per_update": 4096,
                "credit": "counterfactual",
            },
            11.0,
        ),
    ],
    ids=["an account per bar", "eight", "eight, no log probabilities"],
)
def test_a_step_ships_few_bytes(build, changes, limit):
    """What leaves the runner's process, pickled; without packing it was 57 bytes and more."""
    runner = build(**changes).env_runner
    steps = changes["steps_per_update"]
    runner.sample(num_timesteps=steps)
    shipped = len(ray.cloudpickle.dumps(runner.sample(num_timesteps=steps))) / steps
    assert shipped <= limit

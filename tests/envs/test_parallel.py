import copy
import pickle

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from envs.parallel import TacticalParallelEnv
from envs.spaces import OBSERVATION_SPACE, STATE_SPACE
from rllib_tactical.domain.features.table import network_input
from rllib_tactical.domain.types import AGENTS, Reason
from rllib_tactical.errors import ArrayError, UsageError
from tests.market import random_spec

SPEC = random_spec()
LONG = {"fvg": 0, "momentum": 0, "entry": 1}
HOLD = {"fvg": 1, "momentum": 1, "entry": 0}


@pytest.fixture
def env():
    return TacticalParallelEnv(SPEC, seed=1)


def test_follows_the_pettingzoo_contract(env):
    parallel_api_test(env, num_cycles=200)


def test_follows_the_pettingzoo_seeding_contract():
    parallel_seed_test(lambda: TacticalParallelEnv(SPEC), num_cycles=100)


def test_observation_is_the_network_input_of_the_bar_it_stands_on(env):
    observations, infos = env.reset(seed=5)
    t = infos["fvg"]["t"]
    table = SPEC.parts[0].history.features
    expected = network_input(table.raw[t - 59 : t + 1], table.close[t], table.atr[t])
    for agent in AGENTS:
        np.testing.assert_array_equal(observations[agent], expected)
        assert OBSERVATION_SPACE.contains(observations[agent])


def test_observations_share_no_memory_with_each_other_or_what_comes_later(env):
    first, _ = env.reset(seed=5)
    start = first["entry"].copy()
    first["fvg"][:] = 9.0
    np.testing.assert_array_equal(first["momentum"], start)
    second, *_ = env.step(HOLD)
    np.testing.assert_array_equal(first["entry"], start)
    again, _ = env.reset(seed=5)
    np.testing.assert_array_equal(again["fvg"], start)
    kept = [0, 1, 3, 4, 5, 6]  # the level is seen from the last bar's close
    np.testing.assert_array_equal(second["fvg"][:-1, kept], start[1:, kept])


def test_long_votes_buy_and_infos_tell_decision_account_and_reward_parts(env):
    env.reset(seed=5)
    _, rewards, _, _, infos = env.step(LONG)
    info = infos["momentum"]
    assert info["reason"] == Reason.EXECUTE
    assert info["execute"]
    assert info["action"] == 1
    assert info["entered"]
    assert info["quantity"] > 0
    assert info["equity"] - 100_000 == pytest.approx(info["equity_change"])
    assert rewards["momentum"] == pytest.approx(info["reward_base"] + info["reward_bonus"])


def test_votes_without_confidence_count_with_the_training_confidence(env):
    env.reset(seed=5)
    _, _, _, _, infos = env.step(LONG)
    assert infos["fvg"]["confidence"] == pytest.approx(0.9)


def test_confidences_apply_the_full_rule(env):
    env.reset(seed=5)
    _, _, _, _, infos = env.step(LONG, confidences=dict.fromkeys(AGENTS, 0.6))
    assert infos["fvg"]["reason"] == Reason.BELOW_THRESHOLD
    assert not infos["fvg"]["entered"]


def test_an_episode_is_truncated_after_its_length(env):
    env.reset(seed=5)
    steps = 0
    while env.agents:
        _, _, terminated, truncated, _ = env.step(HOLD)
        steps += 1
    assert steps == 64
    assert all(truncated.values())
    assert not any(terminated.values())


def test_holding_earns_nothing(env):
    env.reset(seed=5)
    for _ in range(30):
        _, rewards, _, _, _ = env.step(HOLD)
        assert set(rewards.values()) == {0.0}


@pytest.mark.parametrize("action", [-1, 3, 1.0, True])
@pytest.mark.parametrize("confidences", [None, dict.fromkeys(AGENTS, 0.9)])
def test_action_that_is_not_0_1_or_2_is_refused(env, action, confidences):
    env.reset(seed=5)
    with pytest.raises(ArrayError, match="must be"):
        env.step(dict.fromkeys(AGENTS, action), confidences)


def test_infos_are_numbers_with_the_same_keys_after_a_reset_and_a_step(env):
    _, first = env.reset(seed=5)
    _, _, _, _, second = env.step(LONG)
    for infos in (first, second):
        assert set(infos) == set(AGENTS)
        for info in infos.values():
            assert list(info) == list(first["fvg"])
            for name, value in info.items():
                assert np.issubdtype(np.asarray(value).dtype, np.number) or value in (0, 1), name
    assert first["fvg"]["reason"] == -1
    kinds = [{k: np.asarray(v).dtype for k, v in infos["fvg"].items()} for infos in (first, second)]
    assert kinds[0] == kinds[1]


def test_the_state_is_what_the_critic_sees(env):
    observations, infos = env.reset(seed=5)
    for _ in range(3):
        observations, _, _, _, infos = env.step(LONG)
    state = env.state()
    assert STATE_SPACE.contains(state)
    assert env.state_space == STATE_SPACE
    np.testing.assert_array_equal(state[:420], observations["entry"].ravel())
    np.testing.assert_array_equal(state[420:424], infos["entry"]["account_features"])
    history = SPEC.parts[0].history
    market = history.market_features(np.array([infos["entry"]["t"]]))[0]
    np.testing.assert_array_equal(state[424:], market)
    assert state[420] == 1.0  # long


def test_steps_before_a_reset_and_after_an_end_are_refused(env):
    for work in (lambda: env.step(HOLD), env.state):
        with pytest.raises(UsageError, match="call reset first"):
            work()
    env.reset(seed=5)
    while env.agents:
        observations, *_ = env.step(HOLD)
    with pytest.raises(UsageError, match="after an episode's end"):
        env.step(HOLD)
    np.testing.assert_array_equal(env.state()[:420], observations["fvg"].ravel())
    env.reset()
    env.step(HOLD)


@pytest.mark.parametrize("actions", [{}, {"fvg": 1}, HOLD | {"other": 1}])
def test_every_agent_has_one_action(env, actions):
    env.reset(seed=5)
    with pytest.raises(UsageError, match="one action of each"):
        env.step(actions)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_stand_where_the_original_stands_and_go_their_own_way(env, copied):
    env.reset(seed=5)
    env.step(LONG)
    copies = [copied(env) for _ in range(3)]
    went_on = [each.step(HOLD) for each in (env, *copies)]
    for _, _, _, _, infos in went_on:
        assert infos["fvg"]["t"] == went_on[0][4]["fvg"]["t"]
        assert infos["fvg"]["equity"] == went_on[0][4]["fvg"]["equity"]
    starts = [[each.reset()[1]["fvg"]["t"] for _ in range(5)] for each in (env, *copies)]
    assert len(set(map(tuple, starts))) == 4
    assert len({each.reset(seed=9)[1]["fvg"]["t"] for each in (env, *copies)}) == 1

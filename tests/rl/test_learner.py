"""The centralized batch and the losses, on the real modules but without a running algorithm."""

import copy

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_tactical.config import TacticalConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.networks import Standardisation
from rllib_tactical.rl.algorithm import module_spec
from rllib_tactical.rl.episode import JointEpisode
from rllib_tactical.rl.gae import generalised_advantages
from rllib_tactical.rl.learner import CentralizedBatch, rows_by_bar
from rllib_tactical.rl.modules import CRITIC, STATE
from tests.market import random_spec

SPEC = random_spec()


class OpenMarket:
    """A market handle without an object store."""

    def open(self):
        return SPEC


@pytest.fixture(scope="module")
def modules():
    torch.manual_seed(0)
    return module_spec(TacticalConfig(), Standardisation.identity()).build()


def segment(length, start, terminated=False, seed=0):
    rng = np.random.default_rng(seed)
    return JointEpisode(
        f"{start}",
        np.arange(start, start + length + 1, dtype=np.int32),
        rng.normal(size=(length + 1, 4)).astype(np.float32),
        rng.integers(0, 3, (length, 3)).astype(np.int8),
        np.log(rng.uniform(0.2, 0.9, (length, 3))).astype(np.float32),
        rng.normal(size=(length, 3)).astype(np.float32),
        terminated,
        False,
    )


def make_batch(modules, episodes, accounts_per_bar=1, shuffle=False):
    connector = CentralizedBatch(
        market=OpenMarket(),
        accounts_per_bar=accounts_per_bar,
        gamma=0.99,
        lam=0.95,
        shuffle=shuffle,
    )
    return connector(rl_module=modules, batch={}, episodes=episodes)


def test_actors_get_their_own_rows_and_the_critic_the_global_state(modules):
    episodes = [segment(5, 400), segment(3, 700, terminated=True, seed=1)]
    batch = make_batch(modules, episodes)
    steps_t = np.r_[np.arange(400, 405), np.arange(700, 703)]
    inputs = SPEC.parts[0].tape.inputs.gather(steps_t)
    for i, agent in enumerate(AGENTS):
        np.testing.assert_array_equal(batch[agent][Columns.OBS].numpy(), inputs)
        np.testing.assert_array_equal(
            batch[agent][Columns.ACTIONS].numpy()[:, 0],
            np.concatenate([part.actions[:, i] for part in episodes]),
        )
    state = batch[CRITIC][STATE].numpy()
    assert state.shape == (8, 1, 13)
    np.testing.assert_array_equal(state[:5, 0, :4], episodes[0].account[:5])
    np.testing.assert_array_equal(state[:, 0, 4:], SPEC.parts[0].tape.market_features(steps_t))


def test_accounts_on_one_bar_share_a_row(modules):
    """Two accounts on the same bars: half the rows, the same advantages."""
    episodes = [segment(4, 400, seed=s) for s in (1, 2)] + [segment(4, 402, seed=s) for s in (3, 4)]
    alone = make_batch(copy.deepcopy(modules), episodes)  # a batch moves the critic's moments
    together = make_batch(copy.deepcopy(modules), episodes, 2)
    for agent in AGENTS:
        assert together[agent][Columns.OBS].shape == (8, 60, 7)
        assert together[agent][Columns.ACTIONS].shape == (8, 2)
        for column in (Columns.ACTIONS, Postprocessing.ADVANTAGES):
            np.testing.assert_allclose(
                np.sort(together[agent][column].numpy().ravel()),
                np.sort(alone[agent][column].numpy().ravel()),
                atol=1e-5,
            )
    t = np.r_[np.arange(400, 404), np.arange(400, 404), np.arange(402, 406), np.arange(402, 406)]
    rows = rows_by_bar(t, 2)
    assert (t[rows[:, 0]] == t[rows[:, 1]]).all()
    inputs = SPEC.parts[0].tape.inputs.gather(t[rows[:, 0]])
    np.testing.assert_array_equal(together["fvg"][Columns.OBS].numpy(), inputs)


def test_rows_are_shuffled_together(modules):
    """Sorted by bar, every minibatch of the first epoch would come from one stretch of time."""
    episodes = [segment(50, 400)]
    sorted_batch = make_batch(copy.deepcopy(modules), episodes)
    torch.manual_seed(1)
    shuffled = make_batch(copy.deepcopy(modules), episodes, shuffle=True)
    order = [
        int((sorted_batch["fvg"][Columns.OBS] == row).flatten(1).all(1).nonzero()[0])
        for row in shuffled["fvg"][Columns.OBS]
    ]
    assert sorted(order) == list(range(50))
    assert order != list(range(50))
    for agent in AGENTS:
        for column in (Columns.ACTIONS, Columns.ACTION_LOGP, Postprocessing.ADVANTAGES):
            torch.testing.assert_close(shuffled[agent][column], sorted_batch[agent][column][order])
    torch.testing.assert_close(shuffled[CRITIC][STATE], sorted_batch[CRITIC][STATE][order])


def test_groups_that_were_cut_apart_become_single_rows():
    assert rows_by_bar(np.array([1, 1, 2, 3]), 2).shape == (4, 1)
    assert rows_by_bar(np.array([1, 1, 2]), 2).shape == (3, 1)
    assert rows_by_bar(np.array([2, 1, 2, 1]), 2).tolist() == [[1, 3], [0, 2]]


def test_advantages_come_from_the_critic_and_bootstrap_the_true_last_state(modules):
    episodes = [segment(5, 400), segment(3, 700, terminated=True, seed=1)]
    critic = modules[CRITIC]
    t = np.r_[np.arange(400, 406), np.arange(700, 704)]
    account = np.concatenate([part.account for part in episodes])
    state = np.concatenate([account, SPEC.parts[0].tape.market_features(t)], axis=1)
    inputs = torch.from_numpy(SPEC.parts[0].tape.inputs.gather(t))
    values = critic.values(inputs, torch.from_numpy(state)[:, None])[:, 0].numpy()
    expected, _ = generalised_advantages(
        values.astype(np.float64),
        np.concatenate([part.rewards for part in episodes]).astype(np.float64),
        np.array([5, 3]),
        np.array([False, True]),
        0.99,
        0.95,
    )
    expected = (expected - expected.mean(0)) / expected.std(0)
    batch = make_batch(modules, episodes)
    for i, agent in enumerate(AGENTS):
        np.testing.assert_allclose(
            batch[agent][Postprocessing.ADVANTAGES].numpy()[:, 0], expected[:, i], atol=1e-5
        )


def test_actors_have_no_value_function_and_the_critic_no_inference_part(modules):
    for agent in AGENTS:
        assert not any("critic" in name for name, _ in modules[agent].named_parameters())
    assert modules[CRITIC].get_non_inference_attributes() == ["critic"]


def test_value_normalisation_tracks_the_targets_and_undoes_itself():
    critic = module_spec(TacticalConfig(), Standardisation.identity()).build()[CRITIC]
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        targets = 5 + 3 * torch.randn(256, 3, generator=rng)
        normalised = critic.normalise_targets(targets)
    assert normalised.mean().abs() < 0.1
    assert (normalised.std() - 1).abs() < 0.1
    mean, std = critic.target_scale()
    torch.testing.assert_close(normalised * std + mean, targets)


def test_values_are_denormalised():
    critic = module_spec(TacticalConfig(), Standardisation.identity()).build()[CRITIC]
    inputs, state = torch.zeros(2, 60, 7), torch.zeros(2, 1, 13)
    before = critic.values(inputs, state)
    critic.normalise_targets(torch.full((4, 3), 7.0) + torch.randn(4, 3))
    mean, std = critic.target_scale()
    torch.testing.assert_close(critic.values(inputs, state), before * std + mean)


def test_a_shared_head_gives_every_agent_the_same_value():
    config = TacticalConfig()
    shared = type(config.model)(critic_heads="shared")
    critic = module_spec(type(config)(model=shared), Standardisation.identity()).build()[CRITIC]
    values = critic.values(torch.randn(3, 60, 7), torch.randn(3, 2, 13))
    assert (values == values[..., :1]).all()

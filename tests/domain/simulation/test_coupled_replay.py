"""Accounts of several instruments that stand on one bar and share places for positions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.coupled_replay import CoupledReplays
from rllib_tactical.domain.simulation.episodes import EpisodeConfig, Replay
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.together import step_together
from rllib_tactical.errors import ConfigError, DataError
from tests.market import random_history

BARS, STEPS = 900, 60
HISTORIES = [random_history(BARS, seed) for seed in range(3)]
SPLIT = Split("train", 400, BARS)


def coupled(
    places: int = 1,
    accounts: int = 4,
    histories: list[MarketHistory] = HISTORIES,
    seeds: tuple[int, ...] = (0, 0, 0),
    rules: Rules | None = None,
) -> CoupledReplays:
    episodes = EpisodeConfig(length=32, positions=places)
    made = [
        Replay(each, SPLIT, rules or Rules(), RewardConfig(), episodes, accounts, seed, 2)
        for each, seed in zip(histories, seeds, strict=False)
    ]
    return CoupledReplays(made, places)


def drawn(rng: np.random.Generator, count: int) -> Votes:
    index = rng.integers(0, 3, (count, 3))
    index[:, 1], index[:, 2] = index[:, 0], 1  # two agree and entry executes
    return constant_votes(index, 1.0)


@settings(max_examples=20, deadline=None)
@given(places=st.integers(1, 3), seed=st.integers(0, 99))
def test_no_more_positions_are_open_than_there_are_places(places: int, seed: int) -> None:
    made, rng, most = coupled(places), np.random.default_rng(seed), 0
    for _ in range(STEPS):
        moved = made.step(drawn(rng, made.num_accounts))
        sides = np.array([replay.simulator.side != 0 for replay in made.replays])
        open_ = sides.sum(axis=0)
        assert open_.max() <= places
        most = max(most, int(open_.max()))
        features = made.account_features()
        elsewhere = (open_ - sides).reshape(-1) / places
        np.testing.assert_array_equal(features[:, 4], elsewhere.astype(np.float32))
        made.restart(np.flatnonzero(moved.terminated | moved.truncated))
        assert all(np.array_equal(made.replays[0].t, replay.t) for replay in made.replays)
    assert most == places


def test_it_is_what_a_backtest_with_shared_places_does() -> None:
    """The same votes from the same bar, stepped by ``step_together``."""
    made = coupled(accounts=2)
    start = made.replays[0].t[0]
    rng = np.random.default_rng(1)
    votes = [drawn(rng, 32) for _ in made.replays]
    equity = np.zeros((3, 31))
    for row in range(31):
        now = [each.take(slice(row, row + 1)) for each in votes]
        index = np.concatenate([np.repeat(each.index, 2, axis=0) for each in now])
        made.step(constant_votes(index, 1.0))
        equity[:, row] = [replay.simulator.equity[0] for replay in made.replays]
    simulators = []
    for history in HISTORIES:
        simulator = Simulator(history, Rules(), RewardConfig(), 1)
        simulator.reset(np.zeros(1, dtype=np.int64), np.array([start]))
        simulators.append(simulator)
    found = np.zeros((3, 31))

    def report(k: int, row: int, step: object) -> None:
        found[k, row] = simulators[k].equity[0]

    step_together(simulators, votes, 1, report)
    np.testing.assert_array_equal(equity, found)
    assert len(np.unique(equity)) > 10


def test_what_one_earns_is_a_reward_of_all() -> None:
    made, rng = coupled(places=3), np.random.default_rng(2)
    alone = [
        Replay(each, SPLIT, Rules(), RewardConfig(), EpisodeConfig(length=32), 4, 0, 2)
        for each in HISTORIES
    ]
    for _ in range(20):
        votes = drawn(rng, 12)
        moved = made.step(votes)
        steps = [each.step(votes.take(slice(4 * k, 4 * k + 4))) for k, each in enumerate(alone)]
        total = sum(each.step.rewards for each in steps)
        np.testing.assert_allclose(moved.rewards, np.tile(total, (3, 1)))
        own = np.concatenate([each.step.equity_change for each in steps])
        np.testing.assert_array_equal(moved.equity_change, own)


def test_the_episodes_of_all_end_where_one_has_no_equity_left() -> None:
    made = coupled()
    for array in (made.replays[1].simulator.cash, made.replays[1].simulator.equity):
        array[2] = -1.0
    moved = made.step(constant_votes(np.full((12, 3), 1), 1.0))
    # for good: their groups go on, and no value may be carried over to the fresh accounts
    assert np.flatnonzero(moved.terminated).tolist() == [2, 6, 10]
    assert not moved.truncated.any()
    made.restart(np.flatnonzero(moved.terminated | moved.truncated))
    assert made.replays[1].simulator.equity[2] > 0


def test_a_state_goes_on_where_it_was_taken() -> None:
    made, other, rng = coupled(), coupled(), np.random.default_rng(3)
    for _ in range(10):
        made.step(drawn(rng, 12))
    other.set_state(made.state())
    votes = drawn(rng, 12)
    np.testing.assert_array_equal(made.step(votes).rewards, other.step(votes).rewards)
    np.testing.assert_array_equal(made.account_features(), other.account_features())


def test_instruments_with_other_bars_are_refused() -> None:
    short = random_history(BARS - 1, 5)
    with pytest.raises(DataError, match=r"needs files with the same bars: .* differ in times"):
        coupled(histories=[HISTORIES[0], short])
    late = dataclasses.replace(HISTORIES[1].bars, timestamp_s=HISTORIES[1].bars.timestamp_s + 300)
    shifted = dataclasses.replace(HISTORIES[1], bars=late)
    with pytest.raises(DataError, match="differ in times"):
        coupled(histories=[HISTORIES[0], shifted])


def test_replays_that_draw_other_episodes_are_refused() -> None:
    with pytest.raises(DataError, match="must stand on one bar"):
        coupled(seeds=(0, 1, 0))
    with pytest.raises(ConfigError, match=r"episodes\.positions must be None or >= 1, found 0"):
        coupled(places=0)

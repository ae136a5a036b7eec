from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.episodes import EpisodeConfig, Replay, ReplaySet
from rllib_tactical.domain.simulation.history import MarketHistory, Split, build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import Sessions
from rllib_tactical.errors import ArrayError, ConfigError, DataError
from tests.domain.builders import (
    FUTURE,
    SHARE,
    random_bars,
    random_sessions,
    sessions_of_lengths,
)
from tests.wrong_arrays import assert_wrong_arrays_are_refused

LENGTH = 700


def market(sessions: Sessions | None = None) -> MarketHistory:
    rng = np.random.default_rng(7)
    bars = random_bars(rng, LENGTH)
    return build_history(bars, sessions or random_sessions(rng, LENGTH), FUTURE)


HISTORY = market()
SPLIT = Split("train", 359, 620)


def replay(
    kind: str = "bars",
    length: int = 32,
    accounts: int = 8,
    seed: int | None = 0,
    split: Split = SPLIT,
    history: MarketHistory = HISTORY,
    group_size: int = 1,
) -> Replay:
    episodes = EpisodeConfig(kind=kind, length=length)
    return Replay(history, split, Rules(), RewardConfig(), episodes, accounts, seed, group_size)


def votes(rng: np.random.Generator, count: int) -> Votes:
    return constant_votes(rng.integers(0, 3, (count, 3)), 1.0)


def run(made: Replay, steps: int, seed: int = 1) -> list[np.ndarray]:
    """Step with random votes, restart what ended, and return every bar, reward and flag."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(steps):
        moved = made.step(votes(rng, made.num_accounts))
        out += [made.t.copy(), moved.step.rewards, moved.terminated, moved.truncated]
        made.restart(np.flatnonzero(moved.terminated | moved.truncated))
    return out


def test_same_seed_same_episodes() -> None:
    one, other = run(replay(), 100), run(replay(), 100)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert replay(seed=1).t.tolist() != replay(seed=2).t.tolist()


def test_reset_with_a_seed_repeats_and_without_goes_on() -> None:
    made = replay()
    made.reset(seed=5)
    first = made.t.tolist()
    made.reset()
    assert made.t.tolist() != first
    made.reset(seed=5)
    assert made.t.tolist() == first
    assert first == replay(seed=5).t.tolist()


def test_reset_flattens_the_accounts() -> None:
    made = replay()
    run(made, 20)
    made.reset(seed=1)
    assert (made.simulator.side == 0).all()
    assert (made.simulator.equity == 100_000.0).all()


@pytest.mark.parametrize("kind", ["bars", "session"])
def test_episodes_stay_inside_the_split(kind: str) -> None:
    made = replay(kind, accounts=64)
    rng = np.random.default_rng(2)
    ended = 0
    for _ in range(120):
        assert ((made.t >= SPLIT.start) & (made.t < SPLIT.stop)).all()
        moved = made.step(votes(rng, 64))
        # also the fill of the last decision happens inside the split
        assert (made.t < SPLIT.stop).all()
        over = moved.terminated | moved.truncated
        ended += int(over.sum())
        made.restart(np.flatnonzero(over))
    assert ended > 64


def test_starts_reach_the_first_and_the_last_possible_bar() -> None:
    made = replay(length=256, accounts=500)  # starts 359..363
    assert set(made.t.tolist()) == {359, 360, 361, 362, 363}


def test_starts_wait_for_the_warm_up() -> None:
    made = replay(length=10, accounts=500, split=Split("all", 0, 380))
    assert min(made.t) == 359
    assert max(made.t) == 369


def test_episode_of_bars_lasts_its_length() -> None:
    made = replay(length=32)
    rng = np.random.default_rng(0)
    start = made.t.copy()
    for step in range(1, 33):
        moved = made.step(votes(rng, 8))
        assert (moved.truncated == (step == 32)).all()
        assert not moved.terminated.any()
    np.testing.assert_array_equal(made.t - start, 32)


def test_session_episode_runs_from_the_first_bar_to_the_last() -> None:
    made = replay("session", accounts=64)
    sessions = HISTORY.sessions
    assert sessions.is_first[made.t].all()
    session = sessions.session_id[made.t]
    rng = np.random.default_rng(0)
    live = np.ones(64, dtype=np.bool_)
    for _ in range(40):
        moved = made.step(votes(rng, 64))
        assert (sessions.session_id[made.t] == session)[live].all()
        np.testing.assert_array_equal(moved.truncated[live], sessions.is_last[made.t][live])
        live &= ~moved.truncated
        made.restart(np.flatnonzero(~live))  # out of the way: they no longer count
        if not live.any():
            break
    assert not live.any()


def test_an_episode_of_a_session_ends_with_it_whatever_bars_follow() -> None:
    sessions = sessions_of_lengths(*[50] * 14)
    is_open = np.arange(700) % 50 < 40  # ten bars after hours
    last = np.arange(700) % 50 == 39
    made = replay(
        "session",
        accounts=200,
        split=Split("train", 359, 689),
        history=market(
            dataclasses.replace(sessions, is_last=last, is_open=is_open, tradable=is_open & ~last)
        ),
    )
    assert set(made.t.tolist()) == {400, 450, 500, 550, 600}
    start = made.t.copy()
    rng = np.random.default_rng(0)
    for step in range(1, 40):
        moved = made.step(votes(rng, 200))
        assert (moved.truncated == (step == 39)).all()
    np.testing.assert_array_equal(made.t, start + 39)


def test_accounts_restart_one_by_one() -> None:
    made = replay(accounts=4)
    rng = np.random.default_rng(0)
    made.step(votes(rng, 4))
    before = made.t.copy()
    made.restart(np.array([2]))
    np.testing.assert_array_equal(made.t[[0, 1, 3]], before[[0, 1, 3]])
    made.restart(np.array([], dtype=np.int64))
    for _ in range(31):
        moved = made.step(votes(rng, 4))
    assert moved.truncated.tolist() == [True, True, False, True]


def test_a_group_shares_its_bars_and_its_observation() -> None:
    made = replay(accounts=12, group_size=4)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(100):
        bars = made.t.reshape(3, 4)
        assert (bars == bars[:, :1]).all()
        starts |= {tuple(bars[:, 0].tolist())}
        np.testing.assert_array_equal(made.observe(), HISTORY.inputs.gather(bars[:, 0]))
        moved = made.step(votes(rng, 12))
        made.restart(np.flatnonzero(moved.terminated | moved.truncated))
    assert len({len(set(bars)) for bars in starts} & {2, 3}) > 0  # groups differ from each other


def test_account_that_ends_before_its_group_goes_on_with_it() -> None:
    made = replay(accounts=4, group_size=2, length=6)
    hold = constant_votes(np.ones((4, 3), dtype=np.int64), 1.0)
    made.step(hold)
    made.simulator.cash[1] = -1.0
    moved = made.step(hold)
    assert moved.terminated.tolist() == [False, True, False, False]
    bar = made.t.copy()
    made.restart(np.array([1]))
    np.testing.assert_array_equal(made.t, bar)
    assert made.simulator.equity.tolist() == [100_000.0] * 4
    for step in range(3, 7):
        moved = made.step(hold)
        assert (moved.truncated == (step == 6)).all()


def test_staggered_episodes_end_at_different_bars_but_groups_together() -> None:
    made = replay(accounts=64, group_size=2, length=32)
    made.reset(seed=3, stagger=True)
    hold = constant_votes(np.ones((64, 3), dtype=np.int64), 1.0)
    ended = np.zeros(64, dtype=np.int64)
    for step in range(1, 33):
        over = made.step(hold).truncated & (ended == 0)
        ended[over] = step
    assert (ended > 0).all()  # none lasts longer than an episode, each at least one step
    np.testing.assert_array_equal(ended[::2], ended[1::2])
    assert len(set(ended.tolist())) > 8
    made.restart(np.arange(64))
    for step in range(1, 33):  # the cut is of the first episodes only
        assert (made.step(hold).truncated == (step == 32)).all()


def test_a_set_steps_its_replays_as_if_each_were_alone() -> None:
    bars = random_bars(np.random.default_rng(8), 800)
    other = build_history(bars, sessions_of_lengths(800), SHARE)

    def replays() -> list[Replay]:
        return [
            replay(accounts=6, group_size=2, seed=1),
            replay(accounts=4, group_size=2, seed=2, history=other, split=Split("train", 359, 800)),
        ]

    together, alone = ReplaySet(replays()), replays()
    assert (together.num_accounts, together.group_size) == (10, 2)
    together.reset()
    for part in alone:
        part.reset()
    rng = np.random.default_rng(0)
    for _ in range(80):
        vote = constant_votes(rng.integers(0, 3, (10, 3)), 1.0)
        outcome = together.step(vote)
        moved = [
            part.step(vote.take(rows))
            for part, rows in zip(alone, (slice(0, 6), slice(6, 10)), strict=True)
        ]
        for name in type(outcome).__dataclass_fields__:
            place = [part if name in ("terminated", "truncated") else part.step for part in moved]
            expected = np.concatenate([getattr(part, name) for part in place])
            np.testing.assert_array_equal(getattr(outcome, name), expected)
        together.restart(np.flatnonzero(outcome.terminated | outcome.truncated))
        for part, step in zip(alone, moved, strict=True):
            part.restart(np.flatnonzero(step.terminated | step.truncated))
        running = np.concatenate([alone[0].t, alone[1].t + LENGTH])
        np.testing.assert_array_equal(together.bar, running)
        for method in ("observe", "account_features"):
            expected = np.concatenate([getattr(part, method)() for part in alone])
            np.testing.assert_array_equal(getattr(together, method)(), expected)


@pytest.mark.parametrize("size", [0, -1, 3, 16])
def test_group_size_must_divide_the_accounts(size: int) -> None:
    with pytest.raises(ConfigError, match="group_size must divide the 8 accounts"):
        replay(group_size=size)


def test_account_without_equity_terminates() -> None:
    made = replay(accounts=3)
    made.simulator.cash[1] = -10.0
    moved = made.step(constant_votes(np.ones((3, 3), dtype=np.int64), 1.0))
    assert moved.terminated.tolist() == [False, True, False]
    assert not moved.truncated.any()


def test_terminated_at_the_end_is_not_truncated() -> None:
    made = replay(accounts=2, length=2)
    hold = constant_votes(np.ones((2, 3), dtype=np.int64), 1.0)
    made.step(hold)
    made.simulator.cash[0] = 0.0
    moved = made.step(hold)
    assert moved.terminated.tolist() == [True, False]
    assert moved.truncated.tolist() == [False, True]


def test_observations_are_those_of_the_bars() -> None:
    made = replay(accounts=5)
    run(made, 3)
    np.testing.assert_array_equal(made.observe(), HISTORY.inputs.gather(made.t))
    np.testing.assert_array_equal(made.account_features(), made.simulator.account_features())
    assert made.account_features().shape == (5, 4)
    assert made.num_accounts == 5


def test_replay_is_the_simulator() -> None:
    made = replay(accounts=3)
    simulator = Simulator(HISTORY, Rules(), RewardConfig(), 3)
    simulator.reset(np.arange(3), made.t)
    rng = np.random.default_rng(9)
    for _ in range(31):
        vote = votes(rng, 3)
        np.testing.assert_array_equal(made.step(vote).step.rewards, simulator.step(vote).rewards)
        np.testing.assert_array_equal(made.simulator.equity, simulator.equity)


def test_too_short_split() -> None:
    with pytest.raises(DataError, match="no room for one episode of 261 bars: found 260"):
        replay(length=261)
    assert replay(length=260).t.tolist() == [359] * 8


def test_split_without_a_whole_session() -> None:
    history = market(sessions_of_lengths(LENGTH))
    with pytest.raises(DataError, match="train split has no room for one whole session: found"):
        replay("session", history=history)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "days"), ("length", 1), ("length", 0), ("length", -5)]
)
def test_config_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"episodes.{field}"):
        EpisodeConfig(**{field: value})


def test_costs_can_vary_between_episodes() -> None:
    """A factor of two costs twice as much; a range gives every account its own."""
    from rllib_tactical.domain.decision.votes import constant_votes
    from tests.market import random_spec

    spec = random_spec(1_200, seed=2, length=200)

    def costs_of(factors: tuple[float, float]) -> np.ndarray:
        episodes = EpisodeConfig(length=200, cost_factors=factors)
        (replay,) = dataclasses.replace(spec, episodes=episodes).replays(8, 0, 8)
        rng, paid = np.random.default_rng(1), np.zeros(8)
        for _ in range(199):
            index = np.repeat(rng.integers(0, 3, (1, 3)), 8, axis=0)
            paid += replay.step(constant_votes(index, 1.0)).step.trade_cost
        return paid

    nominal, double, free = costs_of((1.0, 1.0)), costs_of((2.0, 2.0)), costs_of((0.0, 0.0))
    assert (nominal > 0).all()
    np.testing.assert_allclose(double, 2.0 * nominal, rtol=0.1)  # sizes differ a little with equity
    assert (free == 0.0).all()
    assert len(np.unique(costs_of((0.5, 1.5)))) == 8


@pytest.mark.parametrize("factors", [(-0.1, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_cost_factors_are_checked(factors: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"episodes\.cost_factors"):
        EpisodeConfig(cost_factors=factors)


def test_a_state_taken_is_a_state_gone_back_to() -> None:
    """Accounts in the middle of trades, with costs of their own, and all that is drawn later."""
    episodes = EpisodeConfig(length=24, cost_factors=(0.5, 2.0))

    def made(seed: int) -> Replay:
        return Replay(HISTORY, SPLIT, Rules(), RewardConfig(), episodes, 8, seed, 2)

    first = made(0)
    run(first, 30)
    assert (first.simulator.side != 0).any()
    state = first.state()
    expected = run(first, 60, seed=2)
    again = made(5)  # whatever it did before does not matter
    run(again, 7)
    again.set_state(state)
    np.testing.assert_equal(run(again, 60, seed=2), expected)
    first.set_state(state)  # which later steps must not have changed
    np.testing.assert_equal(run(first, 60, seed=2), expected)


def test_the_state_is_all_that_an_account_has() -> None:
    """A field added to the simulator must be added to its state."""
    kept = {f"_{name}" for name in replay().simulator.state()} | set(replay().simulator.state())
    arrays = {
        name
        for name, value in vars(replay().simulator).items()
        if isinstance(value, np.ndarray) and value.shape == (8,)
    }
    assert arrays <= kept


def test_wrong_arrays_are_refused() -> None:
    made = replay(accounts=4)
    together = ReplaySet([made, replay(accounts=4)])
    for function in (made.restart, together.restart):
        assert_wrong_arrays_are_refused(function, accounts=np.array([1, 2]))
    with pytest.raises(ArrayError, match=r"votes\.index must be .*\(8, 3\), found .*\(9, 3\)"):
        together.step(constant_votes(np.ones((9, 3), dtype=np.int64), 1.0))

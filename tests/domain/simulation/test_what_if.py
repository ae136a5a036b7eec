"""The what-if table: by hand, and against one account of the simulator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation import what_if as module
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.what_if import HORIZONS, TRADED_SIDES, WhatIf, what_if
from rllib_tactical.domain.types import Instrument, Sessions
from tests.domain.builders import (
    gappy_sessions,
    hand_history,
    history_of,
    join,
    random_bars,
    random_sessions,
    seeds,
    sessions_of_lengths,
)
from tests.domain.simulation.plays import HOLD, LONG, PAID, QUIET, SHORT, Rows, votes_of
from tests.domain.simulation.random_markets import MARKETS, RULES, random_history

FIRST = 359
"""The first bar that can be decided on."""

GAMMA = 0.9


def table_of(history: MarketHistory, stop: int | None = None, **settings: object) -> WhatIf:
    rules = settings.get("rules", Rules())
    rewards = settings.get("rewards", RewardConfig())
    assert isinstance(rules, Rules)
    assert isinstance(rewards, RewardConfig)
    split = Split("train", 0, len(history) if stop is None else stop)
    return what_if(history, split, rules, rewards, GAMMA, 1.0)


def by_hand(
    history: MarketHistory, t: int, side: int, rules: Rules, rewards: RewardConfig
) -> tuple[bool, float, list[float], int, list[float]]:
    """Return what ``WhatIf`` holds of one trade, from one account that is stepped to its end."""
    simulator = Simulator(history, rules, rewards, 1)
    simulator.reset(np.zeros(1, dtype=np.int64), np.array([t]))
    before = float(simulator.equity[0])
    step = simulator.step(votes_of(LONG if side > 0 else SHORT))
    if not step.entered[0]:
        return False, 0.0, [0.0] * 3, 0, [0.0] * len(HORIZONS)
    total, steps = step.rewards[0].copy(), 1
    so_far = [total.mean()]
    while simulator.side[0] != 0:
        total += GAMMA**steps * simulator.step(votes_of(HOLD)).rewards[0]
        so_far.append(total.mean())
        steps += 1
    early = [so_far[min(horizon, steps) - 1] for horizon in HORIZONS]
    return True, float(simulator.equity[0]) - before, total.tolist(), steps, early


@pytest.mark.slow
@settings(max_examples=15)
@given(
    seeds,
    st.sampled_from(MARKETS),
    st.sampled_from(sorted(RULES)),
    st.sampled_from([random_sessions, gappy_sessions]),
)
def test_agrees_with_one_account_of_the_simulator(
    seed: int,
    instrument: Instrument,
    rules_name: str,
    sessions: Callable[[np.random.Generator, int, int], Sessions],
) -> None:
    """Every bar and side: costs, sizes, session ends, missing bars, halts, lost accounts."""
    history, rules = random_history(seed, instrument, 430, 40, sessions), RULES[rules_name]
    rewards = RewardConfig()
    table = what_if(history, Split("train", 0, 420), rules, rewards, GAMMA, 1.0)
    assert table.start == FIRST
    for t in range(table.start, table.stop):
        for column, side in enumerate(TRADED_SIDES):
            opened, pnl, returns, bars, early = by_hand(history, t, side, rules, rewards)
            where = t - table.start, column
            assert (table.opened[where], table.bars[where]) == (opened, bars)
            assert table.pnl[where] == pnl
            np.testing.assert_allclose(table.returns[where], returns, rtol=0, atol=1e-12)
            np.testing.assert_allclose(table.early[where], early, rtol=0, atol=1e-12)


def market(*after: tuple[float, ...], lengths: tuple[int, ...] | None = None) -> MarketHistory:
    """Return quiet bars up to the first decision, and ``after`` behind it; the ATR is 1."""
    rows: Rows = [QUIET] * (FIRST + 1) + list(after)
    sessions = None if lengths is None else sessions_of_lengths(*lengths)
    return hand_history(rows, instrument=PAID, sessions=sessions)


JUMP = (100.0, 104.0, 100.0, 104.0)


def test_a_jump_by_hand() -> None:
    """A long reaches its target at 103, a short its stop at 102; a tick of .25, 10 $ a point."""
    table = table_of(market(QUIET, JUMP, QUIET), FIRST + 3)
    assert (table.start, table.stop) == (FIRST, FIRST + 2)
    assert table.opened.all()
    # bought at 100 + .5, sold at 103, without spread as a limit order; 3 of commission a side
    # sold at 100 - .5, bought back at 102 + .5
    np.testing.assert_allclose(table.pnl, [[25.0 - 6.0, -30.0 - 6.0]] * 2)
    assert table.bars.tolist() == [[2, 2], [1, 1]]


def test_rewards_are_discounted_to_the_decision() -> None:
    quiet = RewardConfig.pnl_only()
    found = table_of(market(QUIET, JUMP, QUIET), FIRST + 3, rewards=quiet).returns[0]
    # marked at 100 and paid for on the first bar, the rest comes with the second
    changes = np.array([[-8.0, 27.0], [-8.0, -28.0]])
    paid = np.tanh(changes / 300.0) @ [1.0, GAMMA]
    np.testing.assert_allclose(found, np.repeat(paid[:, None], 3, axis=1))


def test_bonuses_are_each_agents_own() -> None:
    table = table_of(random_history(5, MARKETS[2], 430))
    assert (np.ptp(table.returns[table.opened], axis=-1) > 0.01).any()


def test_a_trade_ends_with_its_session() -> None:
    history = market(QUIET, QUIET, QUIET, QUIET, lengths=(FIRST + 3, 2))
    table = table_of(history)
    assert table.bars[0].tolist() == [2, 2]
    assert table.stop == FIRST + 4  # the last bar has none to fill on
    # a session's last bar opens nothing; the one after it opens a trade of the next session
    assert table.opened[:, 0].tolist() == [True, True, False, True]
    assert not table.pnl[2].any()
    assert not table.returns[2].any()


def test_it_ends_before_the_first_trade_that_is_open_at_the_end() -> None:
    """The one side is known, the other is not: none of the bar counts, nor any bar after it."""
    jump = (100.0, 101.0, 97.5, 100.0)  # stops the long only
    rest = [QUIET] * 5
    table = table_of(market(QUIET, jump, *rest), FIRST + 7)
    assert (table.start, table.stop) == (FIRST, FIRST)
    assert len(table) == len(table.pnl) == 0
    # a session's end resolves the first ones
    table = table_of(market(QUIET, jump, *rest, lengths=(FIRST + 4, 4)), stop=FIRST + 7)
    assert table.stop == FIRST + 4


@settings(max_examples=15)
@given(seeds, st.integers(380, 425))
def test_bars_from_the_split_on_change_nothing(seed: int, stop: int) -> None:
    rng = np.random.default_rng(seed)
    history = random_history(seed, MARKETS[1], 430)
    known = table_of(history, stop)
    other = join(history.bars[:stop], random_bars(rng, 430 - stop, start=5_000.0))
    changed = history_of(other, history.sessions, history.instrument)
    found = table_of(changed, stop)
    assert (found.start, found.stop) == (known.start, known.stop)
    for name in ("opened", "pnl", "returns", "bars"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name))
    whole = np.arange(known.start, known.stop)[:, None] + known.bars
    assert (whole < stop).all()


@pytest.mark.parametrize("accounts", [1, 7, 100])
def test_the_number_of_accounts_changes_nothing(
    accounts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = random_history(5, MARKETS[2], 430)
    expected = table_of(history, 420)
    monkeypatch.setattr(module, "ACCOUNTS", accounts)
    found = table_of(history, 420)
    assert found.stop == expected.stop
    for name in ("opened", "pnl", "returns", "bars"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_split_without_a_bar_to_decide_on_has_an_empty_table() -> None:
    table = table_of(random_history(1, MARKETS[0], 430), FIRST)
    assert len(table) == 0
    assert table.returns.shape == (0, 2, 3)

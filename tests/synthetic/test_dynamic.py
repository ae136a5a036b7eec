from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from rllib_tactical.synthetic import MarketParameters, dynamic, make_from_parameters, make_market
from rllib_tactical.synthetic.dynamic import (
    AGAINST,
    AGES,
    STATES,
    WAIT,
    WITH,
    _solve,
    best_plan,
    market_oracle,
    signal_states,
)
from rllib_tactical.synthetic.oracle import gap_oracle, oracle_votes, side_votes
from rllib_tactical.synthetic.parameters import TIMING_PARAMETERS
from rllib_tactical.synthetic.sessions import session_results

SMALL = 60_000


@pytest.fixture(autouse=True)
def _small_reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    best_plan.cache_clear()
    monkeypatch.setattr(dynamic, "REFERENCE_BARS", SMALL)
    yield
    best_plan.cache_clear()


def test_a_process_of_two_states_by_hand() -> None:
    """A signal (state 1) follows nothing with probability 1/4. Trading it brings $8 in 3 bars.

    Waiting in it leads back to nothing after a bar, and so does the trade after 3. A cycle takes 4
    bars until the signal and 3 for the trade, so $8 / 7 per bar.
    """
    reward = np.zeros((3, STATES))
    reward[WITH, 1], reward[AGAINST, 1] = 8.0, -9.0
    bars = np.ones((3, STATES))
    bars[WITH:, 1] = 3.0
    follows = np.zeros((3, STATES, STATES))
    follows[WAIT, 0, :2] = 0.75, 0.25
    follows[:, 1, 0] = 1.0
    known = np.zeros((3, STATES), dtype=np.bool_)
    known[:, :2] = True
    plan = _solve(reward, reward, bars, follows, known)
    assert plan.action[:2].tolist() == [WAIT, WITH]
    assert plan.gain == pytest.approx(8.0 / 7.0)
    # a trade of 40 bars keeps one from nothing better
    bars[WITH, 1] = 40.0
    assert _solve(reward, reward, bars, follows, known).gain == pytest.approx(8.0 / 44.0)
    # what is better by less than its error is left alone
    careful = reward - np.array([0.0, 8.5, 8.5])[:, None]
    assert not _solve(reward, careful, bars, follows, known).action.any()


def test_states_say_which_signal_came_when_and_where_the_price_went() -> None:
    market = make_market("timing", 3, 10_000)
    history = market.history()
    state, side = signal_states(history)
    assert state.min() == 0
    assert state.max() < STATES
    np.testing.assert_array_equal(side == 0, state == 0)
    signals = market.signals
    burst = (signals.family == 1) & (signals.bar > 400) & (signals.bar < 9_900)
    bar = signals.bar[burst]
    fresh = 1 + 3 * AGES
    assert np.mean(state[bar] == fresh) > 0.95
    assert np.mean(side[bar] == signals.side[burst]) > 0.95
    before = signals.jump[burst] - 1  # the price has gone against most signals by then
    assert np.mean((state[before] - 1) % 3 == 2) > 0.6
    assert np.mean((state[before] - 1) % 3 == 1) < 0.2
    np.testing.assert_array_equal(signal_states(history.until(5_000))[0], state[:5_000])


@pytest.mark.slow
def test_the_oracle_of_the_timing_market_waits_and_earns_what_entering_at_once_loses() -> None:
    market = make_market("timing", 11, 30_000)
    history = market.history()
    action = best_plan(TIMING_PARAMETERS).action
    ages = {
        (int(state) - 1) // 3 - AGES: (int(state) - 1) % 3
        for state in np.flatnonzero(action == WITH)
    }
    assert ages[4] == 2
    assert 0 not in ages
    at_once = np.where((signal_states(history)[0] == 1 + 3 * AGES), signal_states(history)[1], 0)
    waits, hurries = session_results(history, [market_oracle(market, history), side_votes(at_once)])
    assert waits.pnl.mean() > 1_000
    assert hurries.pnl.mean() < -200


@pytest.mark.slow
def test_the_oracle_of_a_plain_market_trades_its_signals_at_once() -> None:
    parameters = MarketParameters(family="gap", edge=200.0)
    market = make_from_parameters(parameters, 11, 30_000)
    history = market.history()
    fires = gap_oracle(history.features.raw, history.features.close)
    votes = market_oracle(market, history)
    np.testing.assert_array_equal((1 - votes.index[:, 0])[fires != 0], fires[fires != 0])


def test_markets_of_fixed_difficulty_keep_their_rule() -> None:
    market = make_market("gap", 3, 3_000)
    history = market.history()
    expected = oracle_votes("gap", history.features.raw, history.features.close)
    np.testing.assert_array_equal(market_oracle(market, history).index, expected.index)

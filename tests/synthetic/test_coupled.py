"""Four instruments on one clock: their bars, the price of a place, and what the oracle earns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.synthetic import coupled, make_from_parameters
from rllib_tactical.synthetic.coupled import (
    INSTRUMENTS,
    coupled_oracle,
    coupled_plans,
    coupled_results,
    make_coupled,
)
from rllib_tactical.synthetic.dynamic import best_plan, plan_votes
from rllib_tactical.synthetic.oracle import side_votes


@pytest.fixture(scope="module", autouse=True)
def _small_reference() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coupled, "REFERENCE_BARS", 60_000)
        patch.setattr(coupled, "REFERENCE_SESSIONS", 6)
        coupled_plans.cache_clear()
        yield
        coupled_plans.cache_clear()


def test_the_instruments_have_one_clock_and_moves_of_their_own() -> None:
    made = make_coupled(3, 1_000)
    assert [each.instrument.symbol for each in made] == ["SYNTH1", "SYNTH2", "SYNTH3", "SYNTH4"]
    assert [each.parameters for each in made] == list(INSTRUMENTS)
    for one, other in pairwise(made):
        np.testing.assert_array_equal(one.bars.timestamp_s, other.bars.timestamp_s)
        moves = [np.diff(np.log(each.bars.close)) for each in (one, other)]
        assert abs(np.corrcoef(moves)[0, 1]) < 0.2
    plain = make_from_parameters(INSTRUMENTS[0], 3, 1_000)
    np.testing.assert_array_equal(made[0].bars.close, plain.bars.close)


@pytest.mark.slow
def test_a_price_keeps_the_oracle_from_what_earns_less_than_it_costs() -> None:
    """At $0 it is the policy without a price; at $1,000 a bar nothing is worth a trade."""
    free, dear = (best_plan(INSTRUMENTS[2], price, 60_000) for price in (0.0, 1_000.0))
    np.testing.assert_array_equal(free.action, best_plan(INSTRUMENTS[2], 0.0, 60_000).action)
    assert free.action.any()
    assert not dear.action.any()
    assert dear.gain == 0.0
    assert free.gain > best_plan(INSTRUMENTS[2], 10.0, 60_000).gain > 0.0


@pytest.mark.slow
def test_the_share_of_the_price_is_the_best_one_on_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a share far too high nothing is traded, so that any other is chosen."""
    alone = [best_plan(each, 0.0, 60_000) for each in INSTRUMENTS]
    for shares, takes_all in (((100.0, 0.0), True), ((0.0, 100.0), True), ((100.0,), False)):
        coupled_plans.cache_clear()
        monkeypatch.setattr(coupled, "PRICE_SHARES", shares)
        chosen = coupled_plans()
        for plan, free in zip(chosen, alone, strict=True):
            assert np.array_equal(plan.action, free.action) == takes_all
    coupled_plans.cache_clear()


@pytest.mark.slow
def test_one_place_for_all_costs_who_takes_every_signal_more_than_who_waits_for_quick_ones() -> (
    None
):
    made = make_coupled(1_001, 360 + 31 * 288)
    histories = tuple(market.history() for market in made)
    greedy = [
        plan_votes(best_plan(each, 0.0, 60_000), history)
        for each, history in zip(INSTRUMENTS, histories, strict=True)
    ]
    free, first_come = (coupled_results(histories, greedy, places) for places in (4, 1))
    assert first_come.net < 0.7 * free.net
    assert first_come.trades < 0.8 * free.trades
    assert free.sessions == 30
    coupled_plans.cache_clear()
    assert coupled_results(histories, coupled_oracle(histories), 1).net > 1.1 * first_come.net


def test_results_are_those_of_accounts_of_their_own_where_there_are_places_enough() -> None:
    histories = tuple(market.history() for market in make_coupled(5, 1_500))
    rng = np.random.default_rng(0)
    votes = [side_votes(rng.choice([-1, 0, 0, 0, 0, 1], 1_500)) for _ in histories]
    found = coupled_results(histories, votes, 4)
    first = int(np.flatnonzero(histories[0].sessions.is_first)[2])  # after 359 bars
    net, trades = 0.0, 0
    for history, vote in zip(histories, votes, strict=True):
        simulator = Simulator(history, Rules(), RewardConfig(), 1)
        simulator.reset(np.zeros(1, dtype=np.int64), np.array([first]))
        for t in range(first, first + 3 * 288 - 1):
            step = simulator.step(Votes(vote.index[t : t + 1], vote.confidence[t : t + 1]))
            net, trades = net + float(step.equity_change[0]), trades + int(step.exited[0])
    assert found.sessions == 3
    assert found.net == pytest.approx(net / 3)
    assert found.trades == pytest.approx(trades / 3)
    short = tuple(market.history() for market in make_coupled(5, 500))
    assert coupled_results(short, [vote.take(slice(0, 500)) for vote in votes], 1).sessions == 0

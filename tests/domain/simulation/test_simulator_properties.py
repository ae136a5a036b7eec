"""What holds in random markets: the plain reference, and invariants of accounts and prices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import Instrument, Reason, Sessions
from tests.domain.builders import (
    FREE,
    FUTURE,
    gappy_sessions,
    history_of,
    mirror_bars,
    random_bars,
    random_sessions,
    seeds,
)
from tests.domain.reference_simulator import ReferenceAccount
from tests.domain.simulation.random_markets import (
    LARGE,
    MARKETS,
    PERPETUAL,
    RULES,
    random_history,
    random_votes,
)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    seeds,
    st.sampled_from(MARKETS),
    st.sampled_from(sorted(RULES)),
    st.integers(1, 8),
    st.sampled_from([random_sessions, gappy_sessions]),
)
def test_agrees_with_the_plain_reference(
    seed: int,
    instrument: Instrument,
    rules_name: str,
    accounts: int,
    sessions: Callable[[np.random.Generator, int, int], Sessions],
) -> None:
    """Every decision, fill, cost, reward and mark of every bar, for accounts at different bars."""
    rng = np.random.default_rng(seed)
    history, rules = random_history(seed, instrument, 150, 40, sessions), RULES[rules_name]
    config = RewardConfig()
    simulator = Simulator(history, rules, config, accounts)
    starts = rng.integers(0, 20, accounts)
    simulator.reset(np.arange(accounts), starts)
    references = [ReferenceAccount(history, rules, config, t=int(t)) for t in starts]
    for _ in range(len(history) - 1 - int(starts.max())):
        votes = random_votes(rng, accounts)
        step = simulator.step(votes)
        for i, reference in enumerate(references):
            pairs = zip(votes.index[i].tolist(), votes.confidence[i].tolist(), strict=True)
            expected = reference.step(list(pairs))
            assert Reason(int(step.decision.reason[i])).code == expected.reason
            assert close(step.decision.quantity[i], expected.quantity)
            assert close(step.equity_change[i], expected.equity_change)
            assert close(step.base[i], expected.base)
            np.testing.assert_allclose(step.bonus[i], expected.bonus, atol=1e-9)
            np.testing.assert_allclose(step.rewards[i], expected.rewards, atol=1e-9)
            entry, done = expected.entered, expected.closed
            assert bool(step.entered[i]) is (entry is not None)
            if entry is not None:
                assert close(step.entry_price[i], entry.entry_price)
                assert close(step.decision.stop[i], entry.stop)
                assert close(step.decision.target[i], entry.target)
            assert bool(step.exited[i]) is (done is not None)
            if done is not None:
                assert ExitReason(int(step.exit_reason[i])).name.lower() == done.exit_reason
                assert close(step.exit_price[i], done.exit_price)
                assert (step.trade_side[i], step.trade_entry_t[i]) == (done.side, done.decided_t)
                assert close(step.quantity[i], done.quantity)
                assert close(step.trade_entry_price[i], done.entry_price)
                assert close(step.trade_pnl[i], done.pnl)
                assert close(step.trade_cost[i], done.cost)
            else:
                assert math.isnan(step.exit_price[i])
            assert simulator.t[i] == reference.t
            assert close(simulator.equity[i], reference.equity)
            assert close(simulator.session_peak[i], reference.peak)
            assert bool(simulator.halted[i]) is reference.halted
            held = reference.trade.side if reference.trade is not None else 0
            assert simulator.side[i] == held
            open_cost = 0.0
            if reference.trade is not None:
                size = reference.trade.quantity * instrument.point_value
                open_cost = reference.trade.opening_fee + reference.trade.spread_paid * size
                open_cost += reference.trade.funding
            assert close(simulator.open_cost[i], open_cost)


def close(found: float, expected: float) -> bool:
    return abs(float(found) - expected) <= 1e-6 + 1e-12 * abs(expected)


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds, st.sampled_from(MARKETS), st.sampled_from(sorted(RULES)))
def test_invariants_of_a_run(seed: int, instrument: Instrument, rules_name: str) -> None:
    rules = RULES[rules_name]
    rng = np.random.default_rng(seed + 1)
    history = random_history(seed, instrument, 150)
    simulator = Simulator(history, rules, RewardConfig(), 6)
    sessions = history.sessions
    earned = np.zeros(6)
    changed = np.zeros(6)
    for t in range(len(history) - 1):
        side_before, halted_before = simulator.side.copy(), simulator.halted.copy()
        step = simulator.step(random_votes(rng, 6))
        earned += step.trade_pnl
        changed += step.equity_change
        # no entry while positioned, in a halted session, or into another session
        assert not (step.entered & (side_before != 0)).any()
        assert not (step.entered & halted_before).any()
        if sessions.is_last[t]:
            assert not step.entered.any()
            assert not step.exited.any()
        if step.entered.any():
            assert sessions.session_id[t] == sessions.session_id[t + 1]
        for i in np.flatnonzero(step.exited):
            entry_t = int(step.trade_entry_t[i])
            assert sessions.session_id[entry_t] == sessions.session_id[t + 1]
            assert entry_t <= t
        if sessions.is_last[t + 1]:
            assert (simulator.side == 0).all()
        flat = simulator.side == 0
        initial = rules.risk.initial_equity
        np.testing.assert_allclose(simulator.equity[flat], initial + earned[flat], atol=1e-6)
        np.testing.assert_allclose(simulator.equity, initial + changed, atol=1e-6)
        assert (np.isnan(step.entry_price) == ~step.entered).all()
        assert (np.isnan(step.exit_price) == ~step.exited).all()
        assert (step.trade_cost >= 0).all() or instrument is PERPETUAL
        assert (step.trade_pnl[~step.exited] == 0).all()


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds, st.sampled_from(MARKETS))
def test_session_loss_is_bounded_by_the_limit_and_one_bar(
    seed: int, instrument: Instrument
) -> None:
    """Below the limit one bar may still lose its worst; above it only the way to the next open."""
    rng = np.random.default_rng(seed + 1)
    history = random_history(seed, instrument, 150)
    simulator = Simulator(history, Rules(), RewardConfig(), 6)
    bars = history.bars
    limit = Rules().risk.session_drawdown_limit
    for t in range(len(history) - 1):
        halted, flat = simulator.halted.copy(), simulator.side == 0
        before, peak = simulator.equity.copy(), simulator.session_peak.copy()
        quantity = simulator.quantity.copy()
        step = simulator.step(random_votes(rng, 6))
        assert (((peak - before) / peak)[~halted] < limit).all()
        lots = np.where(flat, step.decision.quantity, quantity)
        size = lots * instrument.point_value
        worse = (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
        worse += instrument.slippage_atr_share * history.features.atr[t]
        costs = 2 * worse * size + 2 * max(instrument.commission_per_lot, 0.0) * lots
        costs += abs(instrument.funding_rate) * bars.open[t + 1] * size
        past = bars.close[t]
        reach = max(past, bars.high[t + 1]) - min(past, bars.low[t + 1])
        lost = -step.equity_change
        assert (lost <= reach * size + costs + 1e-6).all()
        assert (lost[halted] <= (abs(bars.open[t + 1] - past) * size + costs)[halted] + 1e-6).all()
        assert (lost[halted & flat] == 0.0).all()
        assert not step.entered[halted].any()


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds)
def test_accounts_do_not_touch_each_other(seed: int) -> None:
    history = random_history(seed, FUTURE, 110)
    rng = np.random.default_rng(seed)
    votes = [random_votes(rng, 5) for _ in range(len(history) - 1)]
    many = Simulator(history, Rules(), RewardConfig(), 5)
    alone = Simulator(history, Rules(), RewardConfig(), 1)
    for vote in votes:
        a = many.step(vote)
        b = alone.step(Votes(vote.index[3:4], vote.confidence[3:4]))
        for item in dataclasses.fields(Step):
            if item.name != "decision":
                np.testing.assert_array_equal(getattr(a, item.name)[3:4], getattr(b, item.name))
        np.testing.assert_array_equal(many.account_features()[3:4], alone.account_features())


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds, st.sampled_from([FREE, FUTURE, LARGE]))
def test_reflected_prices_and_votes_mirror_the_fills(seed: int, instrument: Instrument) -> None:
    """2M - p with M = 4096: quarters stay exact; limits that depend on the price level are off."""
    rng = np.random.default_rng(seed)
    rules = Rules(risk=RiskConfig(max_leverage=1e6))
    rewards = RewardConfig(execution_slippage=1e6)  # the only reward relative to the price level
    bars = random_bars(rng, 150, volatility=5.0, jump=30.0)
    sessions = random_sessions(rng, 150)
    synergy = random_synergy(rng, 150)
    turned = SynergyTrack(synergy.kind, -synergy.direction, synergy.confidence)
    simulators = [
        Simulator(history_of(b, sessions, instrument, s), rules, rewards, 4)
        for b, s in ((bars, synergy), (mirror_bars(bars, 8192.0), turned))
    ]
    traded = 0
    for _ in range(149):
        votes = random_votes(rng, 4)
        index = votes.index.copy()
        index[:, :2] = 2 - index[:, :2]
        a = simulators[0].step(votes)
        b = simulators[1].step(Votes(index, votes.confidence))
        np.testing.assert_array_equal(a.decision.reason, b.decision.reason)
        np.testing.assert_array_equal(a.decision.action, -b.decision.action)
        np.testing.assert_array_equal(a.decision.quantity, b.decision.quantity)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        np.testing.assert_array_equal(a.trade_side, -b.trade_side)
        for name in ("entry_price", "exit_price"):
            np.testing.assert_allclose(getattr(a, name), 8192.0 - getattr(b, name), atol=1e-9)
        for name in ("trade_pnl", "trade_cost", "equity_change", "rewards", "bonus"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)
        traded += int(a.entered.sum())
    assert traded > 0


def random_synergy(rng: np.random.Generator, length: int) -> SynergyTrack:
    kind = np.where(rng.random(length) < 0.4, rng.integers(1, 5, length), 0).astype(np.int8)
    direction = np.where(kind > 0, rng.choice([1, -1], length), 0).astype(np.int8)
    return SynergyTrack(kind, direction, np.where(kind > 0, rng.random(length), 0.0))


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds)
def test_doubling_the_costs_costs_exactly_that_much(seed: int) -> None:
    """With sizes far below the limits the same trades happen; market orders just cost twice."""
    small = dataclasses.replace(FUTURE, point_value=0.5, slippage_ticks=0.5)
    twice = dataclasses.replace(
        small, commission_per_lot=4.5, half_spread_ticks=1.0, slippage_ticks=1.0
    )
    rng = np.random.default_rng(seed)
    bars, sessions = random_bars(rng, 120), random_sessions(rng, 120)
    simulators = [
        Simulator(history_of(bars, sessions, i), Rules(), RewardConfig(), 3) for i in (small, twice)
    ]
    for _ in range(119):
        votes = random_votes(rng, 3)
        a, b = (simulator.step(votes) for simulator in simulators)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        np.testing.assert_allclose(b.trade_cost, 2 * a.trade_cost, atol=1e-9)
        np.testing.assert_allclose(b.trade_pnl, a.trade_pnl - a.trade_cost, atol=1e-9)
    assert (simulators[1].equity < simulators[0].equity).all()


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds)
def test_price_unit_does_not_matter(seed: int) -> None:
    """Prices and ticks x 4 with a quarter of the point value give the same dollars."""
    rng = np.random.default_rng(seed)
    bars, sessions = random_bars(rng, 120), random_sessions(rng, 120)
    scaled = dataclasses.replace(
        bars, **{name: 4.0 * getattr(bars, name) for name in ("open", "high", "low", "close")}
    )
    unit = dataclasses.replace(FUTURE, gap_proximity_points=None)
    other = dataclasses.replace(unit, tick_size=1.0, point_value=12.5)
    simulators = [
        Simulator(history_of(b, sessions, i), Rules(), RewardConfig(), 3)
        for b, i in ((bars, unit), (scaled, other))
    ]
    for _ in range(119):
        votes = random_votes(rng, 3)
        a, b = (simulator.step(votes) for simulator in simulators)
        np.testing.assert_array_equal(a.decision.reason, b.decision.reason)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        for name in ("trade_pnl", "trade_cost", "equity_change", "rewards"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-7)

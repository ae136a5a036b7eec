from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.lifecycle.gate import GateRules, compare_days, gate, lower_bound

RULES = GateRules(days=10, trades=30)
START, STOP = 420, 2_000


@pytest.fixture(scope="module")
def idle(history: MarketHistory) -> BacktestResult:
    """Return a backtest that never trades."""
    return run_backtest(history, hold_votes(STOP - START), Rules(), START, STOP)


@pytest.fixture(scope="module")
def busy(history: MarketHistory) -> BacktestResult:
    """Return a backtest that trades at random."""
    index = np.random.default_rng(1).integers(0, 3, (STOP - START, 3))
    return run_backtest(history, constant_votes(index, 0.9), Rules(), START, STOP)


def earning(result: BacktestResult, a_bar: float) -> BacktestResult:
    """Return the backtest with so many dollars more on every bar."""
    equity = result.equity.assign(equity=result.equity["equity"] + a_bar * np.arange(STOP - START))
    return dataclasses.replace(result, equity=equity)


def test_one_that_earns_more_passes(idle: BacktestResult, busy: BacktestResult) -> None:
    found = compare_days(idle, earning(busy, 20.0), RULES)
    assert found.passed, found.words
    assert found.champion_pnl == 0.0
    assert 0.0 < found.low < found.challenger_pnl
    assert found.days >= 20
    assert "passed: $" in found.words
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_and_a_worse_one_are_refused(idle: BacktestResult, busy: BacktestResult) -> None:
    good = earning(busy, 20.0)
    same = compare_days(good, good, RULES)
    assert [r.split(",")[0] for r in same.refusals] == [
        "it must earn more than the champion at 95%"
    ]
    worse = compare_days(good, earning(busy, -20.0), RULES)
    assert {refusal.split(",")[0].split(" must")[0] for refusal in worse.refusals} == {
        "it",
        "its drawdown",
    }
    assert "it must earn something" in worse.words


def test_more_earned_does_not_excuse_a_larger_drawdown(
    idle: BacktestResult, busy: BacktestResult
) -> None:
    rich = earning(busy, 20.0)
    equity = rich.equity["equity"].to_numpy().copy()
    equity[700:720] *= 0.95
    dipped = dataclasses.replace(rich, equity=rich.equity.assign(equity=equity))
    (refusal,) = compare_days(idle, dipped, RULES).refusals
    assert refusal.startswith("its drawdown must not exceed the champion's 0.00% by more than 0.5%")


def test_few_days_or_trades_are_refused(idle: BacktestResult, busy: BacktestResult) -> None:
    rules = GateRules(days=99, trades=100_000)
    found = compare_days(idle, earning(busy, 20.0), rules)
    assert [refusal.split(" must")[0] for refusal in found.refusals] == ["days", "trades"]


@pytest.mark.slow
def test_two_bundles_trade_the_same_bars(history: MarketHistory, family: list[Bundle]) -> None:
    found = gate(family[0], family[1], history, START, STOP)  # the same weights
    assert found.champion_pnl == found.challenger_pnl
    assert found.low == 0.0
    assert not found.passed


@pytest.mark.slow
def test_the_bound_is_below_the_mean_and_covers_it() -> None:
    covered = 0
    for seed in range(200):
        days = np.random.default_rng(seed).normal(1.0, 5.0, 60)
        low = lower_bound(days, 0.9, seed)
        assert low < days.mean()
        covered += low <= 1.0
    assert 0.84 <= covered / 200 <= 0.96
    assert lower_bound(np.full(5, 2.0), 0.9, 0) == 2.0


def test_what_is_refused(history: MarketHistory) -> None:
    with pytest.raises(UsageError, match="confidence must be in"):
        GateRules(confidence=0.5)
    short = run_backtest(history, hold_votes(3), Rules(), 421, 424)
    with pytest.raises(DataError, match="at least 2 days, found 1"):
        compare_days(short, short, RULES)

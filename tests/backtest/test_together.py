"""Files that share places: as alone where there are enough, and never more open than places."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.together import run_together, with_places
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ConfigError
from rllib_tactical.synthetic.oracle import side_votes
from tests.market import random_history

START, STOP = 400, 700
LIMIT = Reason.POSITIONS_LIMIT.code


def some_votes(seed: int) -> Votes:
    """Return votes that trade on every tenth bar or so."""
    rng = np.random.default_rng(seed)
    side = np.where(rng.random(STOP - START) < 0.1, rng.choice([-1, 1], STOP - START), 0)
    return side_votes(side)


@pytest.fixture(scope="module")
def alone() -> list[BacktestResult]:
    """Return three instruments; the second one's bars begin 20 bars later."""
    histories = [random_history(1_000, seed) for seed in (3, 4, 5)]
    late = histories[1]
    moved = dataclasses.replace(late.bars, timestamp_s=late.bars.timestamp_s + 20 * 300)
    histories[1] = dataclasses.replace(late, bars=moved)
    return [
        run_backtest(history, some_votes(seed), Rules(), START, STOP)
        for seed, history in enumerate(histories)
    ]


def most_open(results: Sequence[BacktestResult]) -> int:
    """Return the largest number of positions that are open at one close."""
    held = [
        pd.Series(
            result.equity["position"].to_numpy() != 0, index=result.equity["timestamp"], dtype=float
        )
        for result in results
    ]
    return int(pd.concat(held, axis=1).fillna(0.0).sum(axis=1).max())


def test_with_a_place_for_each_all_trade_as_they_do_alone(alone: list[BacktestResult]) -> None:
    for before, after in zip(alone, run_together(alone, 3), strict=True):
        pd.testing.assert_frame_equal(after.equity, before.equity)
        pd.testing.assert_frame_equal(after.trades, before.trades)
        pd.testing.assert_frame_equal(after.decisions, before.decisions)
        np.testing.assert_array_equal(after.bonus, before.bonus)


@pytest.mark.parametrize("places", [1, 2])
def test_never_more_positions_than_places(alone: list[BacktestResult], places: int) -> None:
    assert most_open(alone) == 3
    together = run_together(alone, places)
    assert most_open(together) == places
    refused = [(result.decisions["reason"] == LIMIT).sum() for result in together]
    assert min(refused) > 0
    counts = [sum(len(result.trades) for result in results) for results in (alone, together)]
    assert counts[1] < counts[0]
    again = run_together(together, places)  # only votes, rules and bars count
    pd.testing.assert_frame_equal(again[0].trades, together[0].trades)


def test_at_one_time_the_first_takes_the_place_and_an_order_counts_before_it_fills() -> None:
    histories = [random_history(1_000, seed) for seed in (3, 4)]
    side = np.zeros(STOP - START, dtype=np.int64)
    side[10] = 1
    alone = [run_backtest(each, side_votes(side), Rules(), START, STOP) for each in histories]
    for pair in (alone, alone[::-1]):
        first, second = run_together(pair, 1)
        assert (len(first.trades), len(second.trades)) == (1, 0)
        row = second.decisions.iloc[10]
        assert (row["action"], row["reason"], row["quantity"]) == ("hold", LIMIT, 0.0)


def test_a_place_is_free_at_the_close_of_the_bar_on_which_the_position_ended() -> None:
    histories = [random_history(1_000, seed) for seed in (3, 4)]
    side = np.zeros(STOP - START, dtype=np.int64)
    side[10] = 1
    first = run_backtest(histories[0], side_votes(side), Rules(), START, STOP)
    closed = int(np.flatnonzero(first.equity["position"].to_numpy()[12:] == 0)[0]) + 12
    # the other one votes on every bar from the next on
    eager = run_backtest(
        histories[1], side_votes(np.where(np.arange(STOP - START) > 10, 1, 0)), Rules(), START, STOP
    )
    _, second = run_together([first, eager], 1)
    reasons = second.decisions["reason"].to_numpy()
    assert (reasons[11:closed] == LIMIT).all()
    assert reasons[closed] != LIMIT
    assert second.decisions["execute"].to_numpy()[11:].argmax() + 11 == closed


def test_every_policy_that_votes_is_under_the_limit(
    history: MarketHistory, comparison: Comparison
) -> None:
    index = np.random.default_rng(8).integers(0, 3, (900, 3))
    other = compare_votes(constant_votes(index, 0.9), history, Rules(), 600, 1_500, label="Noise")
    parts = {"A": comparison, "B": other}
    shared = with_places(parts, 1)
    for name, part in shared.items():
        assert [run.name for run in part.runs] == [run.name for run in parts[name].runs]
        assert part.policy.result.outcomes is parts[name].policy.result.outcomes
        assert part.significance is not None
        for before, after in zip(parts[name].runs, part.runs, strict=True):
            same = after.metrics["net_pnl"] == before.metrics["net_pnl"]
            if name == "B":  # the first one that always trades keeps its place
                assert same == (before.name in ("no_trades", "buy_and_hold", "buy_and_hold_days"))
        assert 0 < part.training_rule_trades < parts[name].training_rule_trades
    for kind in ("policy", "random", "always_long", "rule_based"):
        results = [
            next(run.result for run in part.runs if run.name == kind) for part in shared.values()
        ]
        assert most_open(results) == 1
    with pytest.raises(ConfigError, match="places"):
        with_places(parts, 0)

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.policies import (
    BASELINES,
    EXPLANATIONS,
    always_long,
    random_like,
    rule_based,
)
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory

START, STOP = 400, 2_000


def test_always_long_is_long_wherever_the_rules_let_it(history: MarketHistory) -> None:
    result = run_backtest(history, always_long(history, START, STOP), Rules(), START, STOP)
    assert set(result.trades["side"]) == {"long"}
    assert (result.equity["position"] > 0).mean() > 0.5


def test_rule_based_is_the_rule_of_the_domain(history: MarketHistory) -> None:
    votes = rule_based(history, START, STOP)
    expected = rule_votes(history.features.raw[START:STOP], history.bars.close[START:STOP])
    np.testing.assert_array_equal(votes.index, expected.index)


@pytest.mark.parametrize("seed", range(3))
def test_random_trades_as_often_as_the_policy_at_other_times(
    history: MarketHistory, seed: int
) -> None:
    index = np.random.default_rng(9).integers(0, 3, (STOP - START, 3))
    policy = run_backtest(history, constant_votes(index, 0.9), Rules(), START, STOP)
    votes = random_like(policy, seed)
    again = random_like(policy, seed)
    np.testing.assert_array_equal(votes.index, again.index)
    result = run_backtest(history, votes, Rules(), START, STOP)
    assert len(policy.trades) > 20
    assert abs(len(result.trades) - len(policy.trades)) <= 0.1 * len(policy.trades)
    assert set(result.trades["side"]) == {"long", "short"}
    same = set(result.trades["entry_bar"]) & set(policy.trades["entry_bar"])
    assert len(same) < 0.5 * len(policy.trades)
    # the policy's own sizes, before risk limits
    assert set(result.trades["requested"]) <= set(policy.trades["requested"])


def test_random_does_not_trade_where_the_policy_does_not(history: MarketHistory) -> None:
    policy = run_backtest(history, hold_votes(STOP - START), Rules(), START, STOP)
    np.testing.assert_array_equal(random_like(policy).index, policy.votes.index)


def test_every_baseline_is_run_and_explained(comparison: Comparison) -> None:
    # the market of the comparison never closes: there are no nights to leave out
    expected = [name for name in BASELINES if name != "buy_and_hold_days"]
    assert [run.name for run in comparison.baselines] == expected
    assert list(EXPLANATIONS) == list(BASELINES)

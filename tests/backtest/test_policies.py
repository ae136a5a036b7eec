from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.policies import (
    BASELINES,
    EXPLANATIONS,
    POLICIES,
    always_long,
    policy_votes,
    random_like,
    rule_based,
)
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import make_market

START, STOP = 400, 4_000
BASELINE_STOP = 2_000
RULES = Rules()


@pytest.fixture(scope="module")
def synthetic() -> MarketHistory:
    return make_market("regime", 3, STOP).history()


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_trades_as_its_name_says(synthetic: MarketHistory, name: str) -> None:
    votes = policy_votes(name, synthetic, START, STOP, market="regime")
    result = run_backtest(synthetic, votes, RULES, START, STOP)
    sides = set(result.trades["side"])
    expected = {"hold": set(), "always-long": {"long"}, "rules": sides}
    assert sides == expected.get(name, {"long", "short"})
    if name == "oracle":
        assert result.net_pnl > 0
        assert (result.trades["pnl"] > 0).mean() > 0.8


def test_random_is_a_matter_of_its_seed(synthetic: MarketHistory) -> None:
    found = [policy_votes("random", synthetic, START, STOP, seed=seed).index for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    assert (found[0][:, 0] != 1).mean() == pytest.approx(0.05, abs=0.01)


def test_an_oracle_needs_a_synthetic_market(synthetic: MarketHistory) -> None:
    with pytest.raises(UsageError, match="--policy oracle needs --market"):
        policy_votes("oracle", synthetic, START, STOP)


def test_an_unknown_policy_is_refused(synthetic: MarketHistory) -> None:
    with pytest.raises(UsageError, match=r"--policy must be one of hold, .* found 'moon'"):
        policy_votes("moon", synthetic, START, STOP)


def test_always_long_is_long_wherever_the_rules_let_it(history: MarketHistory) -> None:
    result = run_backtest(
        history, always_long(history, START, BASELINE_STOP), Rules(), START, BASELINE_STOP
    )
    assert set(result.trades["side"]) == {"long"}
    assert (result.equity["position"] > 0).mean() > 0.5


def test_rule_based_is_the_rule_of_the_domain(history: MarketHistory) -> None:
    votes = rule_based(history, START, BASELINE_STOP)
    expected = rule_votes(
        history.features.raw[START:BASELINE_STOP], history.bars.close[START:BASELINE_STOP]
    )
    np.testing.assert_array_equal(votes.index, expected.index)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_trades_as_often_as_the_policy_at_other_times(
    history: MarketHistory, seed: int
) -> None:
    index = np.random.default_rng(9).integers(0, 3, (BASELINE_STOP - START, 3))
    policy = run_backtest(history, constant_votes(index, 0.9), Rules(), START, BASELINE_STOP)
    votes = random_like(policy, seed)
    again = random_like(policy, seed)
    np.testing.assert_array_equal(votes.index, again.index)
    result = run_backtest(history, votes, Rules(), START, BASELINE_STOP)
    assert len(policy.trades) > 20
    assert abs(len(result.trades) - len(policy.trades)) <= 0.1 * len(policy.trades)
    assert set(result.trades["side"]) == {"long", "short"}
    same = set(result.trades["entry_bar"]) & set(policy.trades["entry_bar"])
    assert len(same) < 0.5 * len(policy.trades)
    # the policy's own sizes, before risk limits
    assert set(result.trades["requested"]) <= set(policy.trades["requested"])


def test_random_does_not_trade_where_the_policy_does_not(history: MarketHistory) -> None:
    policy = run_backtest(history, hold_votes(BASELINE_STOP - START), Rules(), START, BASELINE_STOP)
    np.testing.assert_array_equal(random_like(policy).index, policy.votes.index)


def test_every_baseline_is_run_and_explained(comparison: Comparison) -> None:
    # the market of the comparison never closes: there are no nights to leave out
    expected = [name for name in BASELINES if name != "buy_and_hold_days"]
    assert [run.name for run in comparison.baselines] == expected
    assert list(EXPLANATIONS) == list(BASELINES)

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.policies import POLICIES, policy_votes
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import make_market

START, STOP = 400, 4_000
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

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.policies import POLICIES, policy_votes
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import Tape
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import make_market

START, STOP = 400, 4_000
RULES = Rules()


@pytest.fixture(scope="module")
def planted() -> Tape:
    return make_market("regime", 3, STOP).tape()


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_trades_as_its_name_says(planted: Tape, name: str) -> None:
    votes = policy_votes(name, planted, START, STOP, market="regime")
    result = run_backtest(planted, votes, RULES, START, STOP)
    sides = set(result.trades["side"])
    expected = {"hold": set(), "buy-and-hold": {"long"}, "rules": sides}
    assert sides == expected.get(name, {"long", "short"})
    if name == "oracle":
        assert result.net_pnl > 0
        assert (result.trades["pnl"] > 0).mean() > 0.8


def test_random_is_a_matter_of_its_seed(planted: Tape) -> None:
    found = [policy_votes("random", planted, START, STOP, seed=seed).index for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    assert (found[0][:, 0] != 1).mean() == pytest.approx(0.05, abs=0.01)


def test_an_oracle_needs_a_planted_market(planted: Tape) -> None:
    with pytest.raises(UsageError, match="--policy oracle needs --market"):
        policy_votes("oracle", planted, START, STOP)


def test_an_unknown_policy_is_refused(planted: Tape) -> None:
    with pytest.raises(UsageError, match=r"--policy must be one of hold, .* found 'moon'"):
        policy_votes("moon", planted, START, STOP)

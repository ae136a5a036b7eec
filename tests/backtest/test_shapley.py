from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.report.tables import agent_rows
from rllib_tactical.backtest.shapley import (
    COALITIONS,
    ENTRY,
    FVG,
    MOMENTUM,
    agent_values,
    coalition_votes,
    name_of,
    shapley_value,
)
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import oracle_votes

LONG, HOLD, SHORT = 0, 1, 2
WAIT, EXECUTE = 0, 1


def worth(**values: float) -> dict[frozenset[int], FloatArray]:
    return {
        each: np.array([values.get(name_of(each).replace("+", "_"), 0.0)]) for each in COALITIONS
    }


def test_values_by_hand() -> None:
    """Only fvg with entry earns, 60, and momentum adds 30 to the two.

    fvg: 1/3 v(f) + 1/6 (v(fm) - v(m)) + 1/6 (v(fe) - v(e)) + 1/3 (v(fme) - v(me)) = 10 + 30 = 40;
    so does entry; momentum: 1/3 (90 - 60) = 10.
    """
    earned = worth(fvg_entry=60.0, fvg_momentum_entry=90.0)
    assert [float(shapley_value(earned, agent)[0]) for agent in (FVG, MOMENTUM, ENTRY)] == (
        pytest.approx([40.0, 10.0, 40.0])
    )


@given(st.lists(st.floats(-1e4, 1e4), min_size=7, max_size=7))
def test_values_sum_to_what_all_three_earn_and_equals_are_treated_alike(
    earned: list[float],
) -> None:
    of = {each: np.array([value]) for each, value in zip(COALITIONS, [0.0, *earned], strict=True)}
    total = sum(float(shapley_value(of, agent)[0]) for agent in range(3))
    assert total == pytest.approx(earned[-1], abs=1e-6)
    swapped = {
        frozenset({FVG: MOMENTUM, MOMENTUM: FVG}.get(agent, agent) for agent in each): value
        for each, value in of.items()
    }
    assert shapley_value(of, FVG)[0] == pytest.approx(shapley_value(swapped, MOMENTUM)[0])


def test_absent_agents_go_along() -> None:
    votes = Votes(np.array([[LONG, SHORT, WAIT]]), np.array([[0.9, 0.6, 0.8]]))

    def of(*present: int) -> tuple[list[int], list[float]]:
        found = coalition_votes(votes, frozenset(present))
        return found.index[0].tolist(), found.confidence[0].tolist()

    assert of(FVG, MOMENTUM, ENTRY) == ([LONG, SHORT, WAIT], [0.9, 0.6, 0.8])
    assert of(FVG, ENTRY) == ([LONG, LONG, WAIT], [0.9, 0.9, 0.8])
    assert of(MOMENTUM, ENTRY) == ([SHORT, SHORT, WAIT], [0.6, 0.6, 0.8])
    assert of(FVG, MOMENTUM) == ([LONG, SHORT, EXECUTE], pytest.approx([0.9, 0.6, 0.75]))
    assert of(MOMENTUM) == ([SHORT, SHORT, EXECUTE], [0.6, 0.6, 0.6])
    for nobody in ((), (ENTRY,)):
        assert of(*nobody)[0] == [HOLD, HOLD, WAIT]


@pytest.mark.slow
def test_an_entry_agent_that_waits_for_decoys_earns_its_place() -> None:
    """fvg and momentum trade every signal and the opposite of none; entry lets gaps pass only."""
    market = make_market("gap", 3, 12_000)
    history = market.history()
    start, stop = history.first_decision, len(history)
    raw, close = history.features.raw[start:stop], history.features.close[start:stop]
    wise, noisy = oracle_votes("gap", raw, close), oracle_votes("regime", raw, close)
    index = np.stack([noisy.index[:, 0], noisy.index[:, 1], wise.index[:, 2]], axis=1)
    result = run_backtest(history, Votes(index, np.ones((stop - start, 3))), Rules(), start, stop)
    values = agent_values(result)
    fvg, momentum, entry = values.contributions
    assert fvg.shapley == pytest.approx(momentum.shapley)
    assert sum(each.shapley for each in values.contributions) == pytest.approx(result.net_pnl)
    assert entry.alone == 0.0
    assert entry.last == pytest.approx(result.net_pnl - values.net_pnl["fvg+momentum"])
    assert entry.trades_without > len(result.trades)
    assert values.trades["fvg+momentum+entry"] == len(result.trades)
    # alone each does what both do
    assert fvg.last == pytest.approx(0.0)
    assert all(each.error > 0 for each in (fvg, momentum))


@pytest.mark.slow
def test_values_are_strict_json_and_rows_of_text(comparison: Comparison) -> None:
    values = agent_values(comparison.policy.result)
    document = json.loads(json.dumps(values.to_dict(), allow_nan=False))
    assert set(document["coalitions"]) == {name_of(each) for each in COALITIONS}
    assert set(document["shapley"]) == {"fvg", "momentum", "entry"}
    columns, rows = agent_rows(values)
    assert [row[0] for row in rows] == ["fvg", "momentum", "entry", "all three"]
    assert {len(row) for row in rows} == {len(columns)}
    assert "±" in rows[0][1]

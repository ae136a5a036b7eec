from __future__ import annotations

import math

import numpy as np
import pytest

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.monitoring import sums as at
from rllib_tactical.monitoring.measures import (
    largest_distance,
    measures_of,
    population_stability,
)
from rllib_tactical.monitoring.observations import INPUTS

EDGES = tuple(np.array([0.0]) for _ in INPUTS)
OUTCOMES = measures_of(at.OUTCOME, EDGES)
BEHAVIOR = measures_of(at.BEHAVIOR, EDGES)


def outcomes(**values: float) -> FloatArray:
    """Return a row of sums of 20 trades: all known, half won, half of the votes right."""
    row = np.zeros(10)
    row[[at.SCORED, at.VOTED, at.ENDED, at.FILLED]] = 20.0
    row[at.SCORE], row[at.WON], row[at.RIGHT] = 12.0, 10.0, 10.0
    row[at.PNL], row[at.ABSOLUTE], row[at.SLIPPAGE] = 200.0, 1_000.0, 0.002
    for name, value in values.items():
        row[getattr(at, name)] = value
    return row


def behavior(decisions: float, confidence: float, trades: float, long: float) -> FloatArray:
    votes = [decisions - long, 0.0, long] * 3
    return np.array([decisions, confidence, trades, *votes])


def test_population_stability_by_hand() -> None:
    window, reference = np.array([29.5, 69.5]), np.array([49.5, 49.5])
    expected = -0.2 * math.log(0.3 / 0.5) + 0.2 * math.log(0.7 / 0.5)
    assert population_stability(window, reference) == pytest.approx(expected)
    assert population_stability(reference, reference) == 0.0
    assert np.isfinite(population_stability(np.array([0.0, 9.0]), reference))


def test_largest_distance_by_hand() -> None:
    assert largest_distance(np.array([3.0, 0.0, 7.0]), np.array([1.0, 1.0, 2.0])) == pytest.approx(
        0.2
    )
    assert largest_distance(np.array([1.0, 1.0]), np.array([5.0, 5.0])) == 0.0


def test_each_statistic_sees_what_it_is_for() -> None:
    usual = outcomes()
    for name, worse, value in (
        ("calibration", outcomes(WON=6.0), 0.2),
        ("accuracy", outcomes(RIGHT=6.0), 0.2),
        ("pnl", outcomes(PNL=-100.0), 0.3),
        ("slippage", outcomes(SLIPPAGE=0.004), 1e-4),
    ):
        assert OUTCOMES[name](worse, usual) == pytest.approx(value), name
        for other, measure in OUTCOMES.items():
            assert measure(usual, usual) == 0.0
            assert other == name or measure(worse, usual) == pytest.approx(0.0), (name, other)


def test_better_than_usual_is_no_drift() -> None:
    better = outcomes(WON=14.0, RIGHT=15.0, PNL=500.0, SLIPPAGE=0.001)
    assert all(measure(better, outcomes()) < 0.0 for measure in OUTCOMES.values())


def test_behavior_differs_either_way() -> None:
    usual = behavior(100.0, 60.0, 9.0, 50.0)
    assert BEHAVIOR["confidence"](behavior(50.0, 20.0, 4.0, 25.0), usual) == pytest.approx(0.2)
    assert BEHAVIOR["confidence"](behavior(50.0, 40.0, 4.0, 25.0), usual) == pytest.approx(0.2)
    assert BEHAVIOR["trades"](behavior(100.0, 60.0, 19.0, 50.0), usual) == pytest.approx(
        math.log(2.0)
    )
    assert BEHAVIOR["trades"](behavior(100.0, 60.0, 4.0, 50.0), usual) == pytest.approx(
        math.log(2.0)
    )
    assert BEHAVIOR["votes_fvg"](behavior(100.0, 60.0, 9.0, 90.0), usual) > 0.5
    assert BEHAVIOR["votes_fvg"](usual, usual) == 0.0


def test_nothing_is_said_about_few_trades_or_without_decisions() -> None:
    few = outcomes(SCORED=9.0, VOTED=9.0, ENDED=9.0, FILLED=0.0)
    assert all(np.isnan(measure(few, outcomes())) for measure in OUTCOMES.values())
    nothing, usual = np.zeros(12), behavior(100.0, 60.0, 9.0, 50.0)
    assert all(np.isnan(measure(nothing, usual)) for measure in BEHAVIOR.values())


def test_inputs_have_two_statistics_each_and_many_windows_give_many_values() -> None:
    found = measures_of(at.INPUT, EDGES)
    assert list(found) == [f"{kind}_{name}" for name in INPUTS for kind in ("psi", "ks")]
    rng = np.random.default_rng(0)
    windows = rng.uniform(1.0, 9.0, (4, 3, 2 * len(INPUTS)))
    reference = rng.uniform(1.0, 9.0, (4, 1, 2 * len(INPUTS)))
    values = found["ks_atr_to_close"](windows, reference)
    assert values.shape == (4, 3)
    one = found["ks_atr_to_close"](windows[2, 1], reference[2, 0])
    assert values[2, 1] == one

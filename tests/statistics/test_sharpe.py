from __future__ import annotations

import math

import numpy as np
import pytest

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError
from rllib_tactical.statistics.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    plain_sharpe,
    probabilistic_sharpe,
    sharpe_probability,
)
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_the_example_of_the_deflated_sharpe_ratio() -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example": five years of 250 days, an annual
    # ratio of 2.5 with skewness -3 and kurtosis 10, the best of 100 trials whose annual ratios
    # have a variance of 1/2: SR0 = 0.1132 per day and DSR = 0.9004; of 46 trials 0.9505
    sharpe, variance = 2.5 / math.sqrt(250), 0.5 / 250
    best = expected_maximum_sharpe(variance, 100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    assert sharpe_probability(sharpe, 1_250, -3.0, 10.0, best) == pytest.approx(0.9004, abs=5e-5)
    best = expected_maximum_sharpe(variance, 46)
    assert sharpe_probability(sharpe, 1_250, -3.0, 10.0, best) == pytest.approx(0.9505, abs=5e-5)


def test_the_example_of_the_probabilistic_sharpe_ratio() -> None:
    # Bailey and Lopez de Prado (2012): 24 monthly returns with a ratio of 0.458, skewness -2.448
    # and kurtosis 10.164 give 0.913; if they were normal it would be 0.982
    assert sharpe_probability(0.458, 24, -2.448, 10.164) == pytest.approx(0.913, abs=1e-3)
    assert sharpe_probability(0.458, 24, 0.0, 3.0) == pytest.approx(0.982, abs=1e-3)


def test_moments_come_from_the_returns() -> None:
    returns = np.array([0.01, -0.02, 0.03, 0.015, -0.005, 0.02])
    ratio = plain_sharpe(returns)
    assert ratio is not None
    assert ratio == pytest.approx(returns.mean() / returns.std(ddof=1))
    centered = (returns - returns.mean()) / returns.std()
    expected = sharpe_probability(ratio, 6, (centered**3).mean(), (centered**4).mean(), 0.1)
    assert probabilistic_sharpe(returns, 0.1) == pytest.approx(expected)


@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])
def test_without_variation_there_is_no_ratio(returns: list[float]) -> None:
    assert plain_sharpe(np.array(returns)) is None
    assert probabilistic_sharpe(np.array(returns)) is None


def test_moments_for_which_the_formula_says_nothing() -> None:
    assert math.isnan(sharpe_probability(2.0, 10, 5.0, 1.0))


def test_more_trials_deflate_more() -> None:
    rng = np.random.default_rng(1)
    returns = rng.normal(0.1, 1.0, 500)
    found = [deflated_sharpe(returns, rng.normal(0, 0.05, trials)) for trials in (1, 5, 50, 500)]
    assert found == sorted(filter(None, found), reverse=True)
    assert found[0] == probabilistic_sharpe(returns)


def test_chance_reaches_the_expected_maximum() -> None:
    best = np.random.default_rng(0).normal(0, 0.3, (4_000, 40)).max(axis=1)
    assert expected_maximum_sharpe(0.09, 40) == pytest.approx(best.mean(), rel=0.02)


def test_wrong_arrays_are_refused() -> None:
    returns = np.random.default_rng(0).normal(size=30)
    for function in (plain_sharpe, probabilistic_sharpe):
        assert_wrong_arrays_are_refused(function, returns=returns)
    wrongs: tuple[AnyArray, ...] = (returns[:, None], np.ones(30, dtype=np.int64))
    for wrong in wrongs:
        with pytest.raises(ArrayError, match="trial_sharpes must be"):
            deflated_sharpe(returns, wrong)

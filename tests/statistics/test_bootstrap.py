from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError
from rllib_tactical.statistics.bootstrap import (
    Interval,
    block_length,
    percentile_intervals,
    resample,
)


def mean_of(series: np.ndarray) -> np.ndarray:
    means: np.ndarray = series.mean(axis=0)
    return means


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    days = np.random.default_rng(0).normal(10.0, 100.0, (400, 1))
    drawn = resample(days, mean_of, 1.0, seed=1)
    (interval,) = percentile_intervals(mean_of(days), drawn)
    width = 1.96 * days.std(ddof=1) / 20.0
    assert interval.estimate == days.mean()
    assert interval.half_width == pytest.approx(width, rel=0.06)
    assert interval.low == pytest.approx(days.mean() - width, abs=0.15 * width)


def test_rows_stay_together() -> None:
    days = np.random.default_rng(0).normal(size=(100, 1))
    drawn = resample(np.column_stack([days, days + 1.0]), mean_of, 4.0, seed=1, resamples=50)
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 1.0)


def test_days_that_hang_together_widen_the_interval() -> None:
    rng, days = np.random.default_rng(0), np.zeros(600)
    for day in range(1, 600):
        days[day] = 0.8 * days[day - 1] + rng.normal()
    days = days[:, None]
    block = block_length(days)
    assert block > 4.0
    naive, real = (resample(days, mean_of, b, seed=1).std() for b in (1.0, block))
    # the long-run deviation of such days is sqrt((1 + .8) / (1 - .8)) = 3 times that of free ones
    assert 1.8 < real / naive < 3.5


def test_days_without_variation_have_blocks_of_one() -> None:
    assert block_length(np.zeros((50, 2))) == 1.0
    assert block_length(np.ones((3, 1))) == 1.0


def test_ends_of_an_interval() -> None:
    drawn = np.arange(1001.0)[:, None]
    (interval,) = percentile_intervals(np.array([500.0]), drawn)
    assert (interval.low, interval.high) == pytest.approx((25.0, 975.0))
    assert interval.above_zero
    assert not Interval(1.0, 0.0, 2.0).above_zero


def test_wrong_arrays_are_refused() -> None:
    days = np.random.default_rng(0).normal(size=(40, 2))
    wrongs: tuple[AnyArray, ...] = (days[:, 0], days[None], days.astype(np.int64))
    for wrong in wrongs:
        with pytest.raises(ArrayError, match=r"series must be a float64 array of shape \(T, K\)"):
            block_length(wrong)
        with pytest.raises(ArrayError, match=r"series must be a float64 array of shape \(T, K\)"):
            resample(wrong, mean_of, 1.0, seed=0, resamples=3)
    with pytest.raises(ArrayError):  # any number of resamples, one column per estimate
        percentile_intervals(np.zeros(2), np.zeros((5, 3)))

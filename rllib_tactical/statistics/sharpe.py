"""Sharpe ratios as probabilities: for short and skewed samples, and for the best of many trials.

All ratios here are per observation (per day), not annualized; ``days_per_year`` is for that.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray

EULER_GAMMA: Final = 0.5772156649015329

DAYS_PER_YEAR: Final = 252
"""Sessions a year of an exchange that closes on weekends and holidays, by convention."""

_DAYS_PER_YEAR: Final = {"24/7": 365, "FX": 260}


def days_per_year(calendars: Collection[str]) -> int:
    """Return the sessions a year that ratios of days are annualized with.

    Days of accounts side by side are dates on which any of them traded: the calendar with the
    most sessions counts.

    Args:
        calendars: names of the instruments' calendars, at least one.
    """
    return max(_DAYS_PER_YEAR.get(name, DAYS_PER_YEAR) for name in calendars)


def plain_sharpe(returns: FloatArray) -> float | None:
    """Return mean / sample standard deviation of returns (T,); None where it is undefined.

    Raises:
        ArrayError: ``returns`` is not (T,) float64.
    """
    require_shape(returns, ("T",), np.float64, "returns")
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    # a constant that is not exact in binary has a deviation of rounding errors
    if deviation <= 1e-12 * float(np.max(np.abs(returns))):
        return None
    return float(np.mean(returns)) / deviation


def sharpe_probability(
    sharpe: float, observations: int, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark``.

    Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)), Bailey and Lopez de Prado,
    "The Sharpe Ratio Efficient Frontier" (2012).

    Args:
        sharpe: observed ratio per observation.
        observations: T, at least 2.
        skewness: g3 of the returns.
        kurtosis: g4 of the returns; 3 for a normal distribution.
        benchmark: SR* per observation.
    """
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    # the expansion can turn negative for extreme moments, where it says nothing
    if variance <= 0.0:
        return math.nan
    return float(ndtr((sharpe - benchmark) * math.sqrt(observations - 1) / math.sqrt(variance)))


def probabilistic_sharpe(returns: FloatArray, benchmark: float = 0.0) -> float | None:
    """Return ``sharpe_probability`` of returns (T,); None where their ratio is undefined.

    Raises:
        ArrayError: ``returns`` is not (T,) float64.
    """
    ratio = plain_sharpe(returns)
    if ratio is None:
        return None
    probability = sharpe_probability(
        ratio,
        len(returns),
        *_shape_of(returns),
        benchmark,
    )
    return probability if math.isfinite(probability) else None


def _shape_of(returns: FloatArray) -> tuple[float, float]:
    """Return skewness g3 and kurtosis g4; scipy.stats has both, and takes 0.6 s to import."""
    deviation = returns - returns.mean()
    square = deviation**2
    variance = square.mean()
    third, fourth = (square * deviation).mean(), (square**2).mean()
    return float(third / variance**1.5), float(fourth / variance**2)


def expected_maximum_sharpe(variance: float, trials: int) -> float:
    """Return the Sharpe ratio to expect of the best of ``trials`` trials without any skill.

    sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))) with g the Euler-Mascheroni constant and Z the
    normal quantile; Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014). 0 for one trial.

    Args:
        variance: V of the trials' ratios per observation.
        trials: N.
    """
    if trials < 2:
        return 0.0
    first = ndtri(1.0 - 1.0 / trials)
    second = ndtri(1.0 - 1.0 / (trials * math.e))
    return float(math.sqrt(variance) * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second))


def deflated_sharpe(returns: FloatArray, trial_sharpes: FloatArray) -> float | None:
    """Return the probability that returns (T,) beat what the best of all trials gets by chance.

    Args:
        returns: of the strategy that was chosen.
        trial_sharpes: (N,) ratios per observation of all trials, the chosen one included.

    Raises:
        ArrayError: an array of another rank or dtype.
    """
    require_shape(trial_sharpes, ("N",), np.float64, "trial_sharpes")
    variance = float(np.var(trial_sharpes, ddof=1)) if len(trial_sharpes) > 1 else 0.0
    return probabilistic_sharpe(returns, expected_maximum_sharpe(variance, len(trial_sharpes)))

"""Confidence sequences: intervals for a running mean that hold at every look, however often.

An ordinary interval is wrong far more often than it says when one looks at it every day and stops
at the first good one. A confidence sequence covers, with its stated probability, the running mean
of what was to be expected of each day given the days before it, at all times at once; the days need
be neither independent nor alike. It is the empirical Bernstein sequence of Howard, Ramdas,
McAuliffe and Sekhon (2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
theorem 4 with the gamma-exponential mixture, proposition 9), for values in a known range.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import UsageError, require

TUNED_FOR: Final = 30.0
"""Days of typical variance at which the sequence is about as narrow as it can be."""

_STEPS: Final = 60  # of the bisection, each of which halves the error


def confidence_sequence(
    values: FloatArray, low: float, high: float, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Return the lower and upper ends (T,) of the mean of the first t values, for every t.

    Args:
        values: (T,) in order of time; what is outside of ``low`` and ``high`` is cut off there.
        low: least value.
        high: largest value.
        confidence: probability that all T intervals cover their means, in (0, 1).

    Raises:
        ArrayError: ``values`` is not (T,) float64.
        UsageError: the range is empty, or ``confidence`` is out of range.
    """
    require_shape(values, ("T",), np.float64, "values")
    require(low < high, "low must be below high", (low, high), UsageError)
    require(0.0 < confidence < 1.0, "confidence must be in (0, 1)", confidence, UsageError)
    unit = (np.clip(values, low, high) - low) / (high - low)
    count = np.arange(1, len(unit) + 1)
    mean = np.cumsum(unit) / count
    # the guess of each value is made of those before it: that keeps the deviations predictable
    guess = (0.5 + np.concatenate([[0.0], np.cumsum(unit)[:-1]])) / count
    variance = np.cumsum((unit - guess) ** 2)
    radius = _boundary(variance, 0.5 * (1.0 - confidence)) / count
    scale = high - low
    return (
        low + scale * np.maximum(mean - radius, 0.0),
        low + scale * np.minimum(mean + radius, 1.0),
    )


def _boundary(variance: FloatArray, error: float) -> FloatArray:
    """Return the gamma-exponential mixture boundary (T,) with scale 1 for one side."""
    rho = TUNED_FOR * 0.25 / (2.0 * np.log(1.0 / error) + np.log(1.0 + 2.0 * np.log(1.0 / error)))
    low, high = np.zeros(len(variance)), np.full(len(variance), 1.0)
    target = np.log(1.0 / error)
    while (short := _log_mixture(high, variance, rho) < target).any():
        high = np.where(short, 2.0 * high, high)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        above = _log_mixture(middle, variance, rho) >= target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


def _log_mixture(s: FloatArray, v: FloatArray, rho: float) -> FloatArray:
    """Return the logarithm of the gamma-exponential mixture of (s, v), proposition 9 with c = 1."""
    from scipy.special import gammainc, gammaln

    def log_inc(a: FloatArray | float, x: FloatArray | float) -> FloatArray:
        return np.asarray(np.log(np.maximum(gammainc(a, x), 1e-300)))

    return np.asarray(
        rho * np.log(rho)
        - gammaln(rho)
        - log_inc(rho, rho)
        + gammaln(v + rho)
        + log_inc(v + rho, s + v + rho)
        - (v + rho) * np.log(s + v + rho)
        + s
        + v
    )

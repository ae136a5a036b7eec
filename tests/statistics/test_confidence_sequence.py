from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import ArrayError, UsageError
from rllib_tactical.statistics.confidence_sequence import (
    _boundary,
    _log_mixture,
    confidence_sequence,
)

DAYS, LIMIT = 120, 1_000.0


def dependent_days(seed: int) -> tuple[FloatArray, FloatArray]:
    """Return daily P&L and what was to be expected of it given the days before.

    Volatility comes in clusters, tails are fat, and a day's expectation follows the day before.
    """
    rng = np.random.default_rng(seed)
    pnl, expected = np.zeros(DAYS), np.zeros(DAYS)
    shocks, log_volatility = rng.standard_t(5, DAYS), 0.0
    for day in range(DAYS):
        log_volatility = 0.9 * log_volatility + 0.2 * rng.standard_normal()
        # symmetric before the cut at the limit, so that the cut leaves the expectation
        drawn = 100.0 * np.exp(log_volatility) * shocks[day]
        expected[day] = 20.0 * np.tanh(pnl[day - 1] / 200.0) if day else 0.0
        room = LIMIT - 20.0
        pnl[day] = expected[day] + np.clip(drawn, -room, room)
    return pnl, expected


@pytest.mark.slow
def test_all_looks_are_covered_in_2000_simulations_on_dependent_days() -> None:
    """Whoever stops when it suits is wrong no more often than is stated; fixed intervals are."""
    missed = fixed = 0
    count = np.arange(1, DAYS + 1)
    for seed in range(2_000):
        pnl, expected = dependent_days(seed)
        truth = np.cumsum(expected) / count
        low, high = confidence_sequence(pnl, -LIMIT, LIMIT, 0.9)
        missed += bool(((truth < low) | (truth > high)).any())
        mean = np.cumsum(pnl) / count
        error = np.sqrt(np.maximum(np.cumsum(pnl**2) / count - mean**2, 0.0) / count)
        fixed += bool((np.abs(mean - truth) > 1.645 * error)[20:].any())
    print(f"missed by the sequence: {missed / 2_000:.2%}, by fixed intervals: {fixed / 2_000:.1%}")
    assert missed / 2_000 <= 0.1
    assert fixed / 2_000 > 0.25


def test_the_mixture_is_the_integral_that_it_stands_for() -> None:
    """The closed form against numbers: the mean over l of exp(l s - psi(l) v)."""
    from scipy.integrate import quad
    from scipy.special import gamma, gammainc

    for s, v, rho in ((1.0, 2.0, 0.8), (3.0, 5.0, 1.2), (6.0, 10.0, 0.8)):
        weight = rho**rho / (gamma(rho) * gammainc(rho, rho))

        def part(
            x: float, s: float = s, v: float = v, rho: float = rho, w: float = weight
        ) -> float:
            psi = -np.log(1.0 - x) - x
            density = w * (1.0 - x) ** (rho - 1.0) * np.exp(-rho * (1.0 - x))
            return float(np.exp(x * s - psi * v) * density)

        found = _log_mixture(np.array([s]), np.array([v]), rho)[0]
        assert found == pytest.approx(np.log(quad(part, 0.0, 1.0, limit=200)[0]), abs=1e-6)


def test_the_boundary_is_where_the_mixture_reaches_its_level() -> None:
    variance = np.array([0.0, 0.5, 3.0, 40.0])
    for error in (0.025, 0.2):
        radius = _boundary(variance, error)
        assert (np.diff(radius) > 0).all()
        assert _boundary(variance, 0.5 * error)[2] > radius[2]


def test_a_clear_edge_is_seen_and_the_ends_scale_with_the_values() -> None:
    rng = np.random.default_rng(1)
    days = rng.normal(60.0, 100.0, 250)
    low, high = confidence_sequence(days, -LIMIT, LIMIT)
    assert low[-1] > 0.0
    assert (low[:3] < 0.0).all()
    assert (low < high).all()
    tenth = confidence_sequence(days / 10.0, -LIMIT / 10.0, LIMIT / 10.0)
    np.testing.assert_allclose(tenth, np.stack([low, high]) / 10.0)
    mirrored = confidence_sequence(-days, -LIMIT, LIMIT)
    np.testing.assert_allclose(mirrored, np.stack([-high, -low]), atol=1e-9)
    first = confidence_sequence(days[:100], -LIMIT, LIMIT)  # later days change no earlier look
    np.testing.assert_array_equal(first, np.stack([low, high])[:, :100])


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="low must be below high"):
        confidence_sequence(np.zeros(3), 1.0, 1.0)
    for wrong in (0.0, 1.0):
        with pytest.raises(UsageError, match="confidence must be in"):
            confidence_sequence(np.zeros(3), 0.0, 1.0, wrong)
    with pytest.raises(ArrayError, match="values"):
        confidence_sequence(np.zeros((3, 1)), 0.0, 1.0)

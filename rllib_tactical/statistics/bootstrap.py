"""Intervals by the stationary bootstrap: days are drawn in blocks of random length.

Politis and Romano (1994), with the mean block length of Politis and White (2004) as corrected by
Patton, Politis and White (2009); both from the package ``arch``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray

RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its 95% interval."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's length: the y of "x +/- y"."""
        return 0.5 * (self.high - self.low)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0.0

    def to_dict(self) -> dict[str, float]:
        """Return plain values."""
        return asdict(self)


def block_length(series: FloatArray) -> float:
    """Return the largest of the optimal mean block lengths of the columns of (T, K), at least 1.

    Columns without variation are passed over.

    Raises:
        ArrayError: ``series`` is not (T, K) float64.
    """
    require_shape(series, ("T", "K"), np.float64, "series")
    from arch.bootstrap import optimal_block_length

    moving = series[:, series.std(axis=0) > 0.0]
    if moving.shape[1] == 0 or len(moving) < 8:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of very few trades
        lengths = optimal_block_length(moving)["stationary"].to_numpy()
    lengths = lengths[np.isfinite(lengths)]
    return float(max(1.0, lengths.max(initial=1.0)))


def resample(
    series: FloatArray,
    statistics: Callable[[FloatArray], FloatArray],
    block: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """Return ``statistics`` (S,) of resampled days, (R, S).

    Args:
        series: (T, K) daily values; a day's row is drawn as a whole, so that columns stay paired.
        statistics: from (T, K) to (S,).
        block: mean block length in days.
        seed: of the draws.
        resamples: R.

    Raises:
        ArrayError: ``series`` is not (T, K) float64.
    """
    require_shape(series, ("T", "K"), np.float64, "series")
    from arch.bootstrap import StationaryBootstrap

    kind: Any = StationaryBootstrap  # annotated for whole blocks only; means may be fractions
    drawn = kind(block, series, seed=np.random.default_rng(seed))
    out: FloatArray = drawn.apply(statistics, resamples)
    return out


def percentile_intervals(estimates: FloatArray, drawn: FloatArray) -> list[Interval]:
    """Return the percentile interval of each statistic; estimates (S,), drawn (R, S).

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(estimates, ("S",), np.float64, "estimates")
    require_shape(drawn, ("R", len(estimates)), np.float64, "drawn")
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100.0 - tail], axis=0)
    return [
        Interval(float(value), float(a), float(b))
        for value, a, b in zip(estimates, low, high, strict=True)
    ]

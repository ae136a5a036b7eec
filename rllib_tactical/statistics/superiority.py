"""Hansen's test for superior predictive ability, from the package ``arch``."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray

RESAMPLES = 1_000


def superiority_p_value(
    benchmark: FloatArray, candidates: FloatArray, block: float, seed: int
) -> float | None:
    """Return the p-value of "no candidate earns more than the benchmark", studentised.

    Small values say that the best candidate earns more than the benchmark, allowing for the number
    of candidates it was picked from. Hansen, "A Test for Superior Predictive Ability" (2005), the
    consistent p-value.

    Args:
        benchmark: (T,) daily P&L.
        candidates: (T, N) daily P&L.
        block: mean block length of the stationary bootstrap, days.
        seed: of the draws.

    Returns:
        None when no candidate ever differs from the benchmark.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
    """
    require_shape(benchmark, ("T",), np.float64, "benchmark")
    require_shape(candidates, (len(benchmark), "N"), np.float64, "candidates")
    from arch.bootstrap import SPA

    gain = candidates - benchmark[:, None]
    differs = gain.std(axis=0) > 0.0
    if not differs.any():
        return None
    test = SPA(
        -benchmark,
        -candidates[:, differs],
        block_size=max(1, round(block)),
        reps=RESAMPLES,
        bootstrap="stationary",
        seed=np.random.default_rng(seed),
    )
    test.compute()
    return float(test.pvalues["consistent"])

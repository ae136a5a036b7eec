from __future__ import annotations

import numpy as np

from rllib_tactical.reporting.plots import MAX_POINTS, thin


def test_thinning_keeps_ends_and_extremes() -> None:
    values = np.random.default_rng(0).normal(size=50_000).cumsum()
    rows = thin(values)
    assert len(rows) <= MAX_POINTS + 2
    assert {0, 49_999, int(values.argmin()), int(values.argmax())} <= set(rows.tolist())
    assert thin(values[:100]).tolist() == list(range(100))

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError
from rllib_tactical.statistics.superiority import superiority_p_value


def superiority(benchmark: np.ndarray, candidates: np.ndarray, length: float) -> float:
    found = superiority_p_value(benchmark, candidates, length, seed=0)
    assert found is not None
    return found


def test_superiority_finds_what_is_better_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(4)
    benchmark = rng.normal(0.0, 1.0, 400)
    better = benchmark + rng.normal(0.4, 1.0, 400)
    noise = rng.normal(0.0, 1.0, (400, 8))
    assert superiority(benchmark, np.column_stack([noise, better]), 2.0) < 0.01
    assert superiority(benchmark, noise, 2.0) > 0.05
    assert superiority(better, benchmark[:, None], 2.0) > 0.5


def test_superiority_over_oneself_is_undefined() -> None:
    days = np.random.default_rng(0).normal(size=50)
    assert superiority_p_value(days, days[:, None], 1.0, 0) is None


def test_many_tries_are_allowed_for() -> None:
    # one candidate that looks good by itself is less convincing as the best of many
    rng = np.random.default_rng(1)
    benchmark = np.zeros(250)
    candidates = rng.normal(0.0, 1.0, (250, 60))
    best = candidates[:, candidates.mean(axis=0).argmax()]
    alone = superiority(benchmark, best[:, None], 1.0)
    among = superiority(benchmark, candidates, 1.0)
    assert alone < 0.05
    assert among > 0.2


def test_wrong_arrays_are_refused() -> None:
    days = np.random.default_rng(0).normal(size=(40, 2))
    pairs: tuple[tuple[AnyArray, AnyArray], ...] = (
        (days, days),
        (days[:-1, 0], days),
        (days[:, 0], days[:, 0]),
        (days[:, 0], days.astype(np.int64)),
    )
    for benchmark, candidates in pairs:
        with pytest.raises(ArrayError, match=r"(benchmark|candidates) must be a float64 array"):
            superiority_p_value(benchmark, candidates, 1.0, seed=0)

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError, DataError
from rllib_tactical.statistics.overfitting import overfitting_probability


def by_hand(returns: np.ndarray, blocks: int) -> list[float]:
    """Return the logits as the paper words them, split by split."""
    parts = np.split(returns, blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        train = np.concatenate([parts[i] for i in chosen])
        test = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        best = np.argmax(train.mean(axis=0) / train.std(axis=0))
        ratio = test.mean(axis=0) / test.std(axis=0)
        rank = 1 + (ratio < ratio[best]).sum()
        w = rank / (returns.shape[1] + 1)
        logits.append(math.log(w / (1 - w)))
    return logits


def test_agrees_with_the_procedure_taken_literally() -> None:
    returns = np.random.default_rng(3).normal(0.02, 1.0, (60, 7))
    found = overfitting_probability(returns, blocks=6)
    expected = by_hand(returns, 6)
    np.testing.assert_allclose(found.logits, expected)
    assert found.probability == np.mean(np.array(expected) <= 0)
    assert (found.trials, found.blocks) == (7, 6)


def test_a_trial_that_is_always_best_is_no_luck() -> None:
    returns = np.random.default_rng(0).normal(0.0, 1.0, (320, 10))
    returns[:, 4] += 3.0
    found = overfitting_probability(returns)
    assert found.probability == 0.0
    assert found.loss == 0.0


def test_a_best_that_must_be_worst_elsewhere_is_all_luck() -> None:
    # two trials that mirror each other: what wins in one half loses in the other
    day = np.random.default_rng(0).normal(0.0, 1.0, 96)
    day -= day.mean()
    found = overfitting_probability(np.column_stack([day, -day]))
    assert found.probability > 0.99
    assert found.loss > 0.99


def test_noise_is_about_a_coin_toss() -> None:
    found = [
        overfitting_probability(np.random.default_rng(seed).normal(size=(160, 20))).probability
        for seed in range(12)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_few_days_take_fewer_blocks_and_very_few_none() -> None:
    rng = np.random.default_rng(0)
    assert overfitting_probability(rng.normal(size=(20, 3))).blocks == 6
    with pytest.raises(DataError, match="needs 2 trials and 12 days, found 3 and 11"):
        overfitting_probability(rng.normal(size=(11, 3)))
    with pytest.raises(DataError, match="needs 2 trials"):
        overfitting_probability(rng.normal(size=(50, 1)))


def test_wrong_arrays_are_refused() -> None:
    returns = np.random.default_rng(3).normal(size=(60, 7))
    wrongs: tuple[AnyArray, ...] = (returns[:, 0], returns[None], returns.astype(np.int64))
    for wrong in wrongs:
        with pytest.raises(ArrayError, match=r"returns must be a float64 array of shape \(T, N\)"):
            overfitting_probability(wrong)

"""Probability of backtest overfitting by combinatorially symmetric cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy.stats import rankdata

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import DataError

BLOCKS: Final = 16
MIN_ROWS_PER_BLOCK: Final = 3


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Outcome of the cross-validation.

    ``probability``: share of the splits in which the trial that is best in one half is in the
    lower half of all trials in the other; ``logits`` (S,) of its relative rank there; ``loss``:
    share of the splits in which it loses money there; ``trials`` N and ``blocks`` the days were
    cut into.
    """

    probability: float
    logits: FloatArray
    loss: float
    trials: int
    blocks: int


def overfitting_probability(returns: FloatArray, blocks: int = BLOCKS) -> Overfitting:
    """Return the probability that choosing the best of N trials chooses by luck.

    Days are cut into blocks of equal length; every half of the blocks chooses the trial with the
    best Sharpe ratio, whose rank among all trials in the other half is w. The probability is the
    share of the splits with log(w / (1 - w)) <= 0. Bailey, Borwein, Lopez de Prado and Zhu, "The
    Probability of Backtest Overfitting" (2015).

    Args:
        returns: (T, N) daily returns of the trials; surplus days at the begin are left out.
        blocks: S, even; fewer are used when there are too few days.

    Raises:
        ArrayError: ``returns`` is not (T, N) float64.
        DataError: fewer than two trials or too few days.
    """
    require_shape(returns, ("T", "N"), np.float64, "returns")
    days, trials = returns.shape
    blocks = min(blocks, days // MIN_ROWS_PER_BLOCK // 2 * 2)
    if trials < 2 or blocks < 4:
        raise DataError(
            f"the probability of overfitting needs 2 trials and {4 * MIN_ROWS_PER_BLOCK} days, "
            f"found {trials} and {days}"
        )
    length = days // blocks
    cut = returns[days - blocks * length :].reshape(blocks, length, trials)
    total, square = cut.sum(axis=1), (cut**2).sum(axis=1)  # (S, N)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(chosen), blocks))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    count = length * blocks // 2
    train = _sharpe(inside @ total, inside @ square, count)
    test = _sharpe((1.0 - inside) @ total, (1.0 - inside) @ square, count)
    best = train.argmax(axis=1)
    rows = np.arange(len(best))
    rank = rankdata(test, axis=1)[rows, best] / (trials + 1)
    logits = np.log(rank / (1.0 - rank))
    lost = ((1.0 - inside) @ total)[rows, best] < 0
    return Overfitting(
        float((logits <= 0).mean()), np.asarray(logits), float(lost.mean()), trials, blocks
    )


def _sharpe(total: FloatArray, square: FloatArray, count: int) -> FloatArray:
    """Return mean / standard deviation from sums and sums of squares; 0 without variation."""
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0.0)
    flat = variance <= 1e-12 * np.maximum(square / count, 1e-300)
    return np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance)))

"""The oracle of each synthetic market.

It sees one bar's raw features and its close, no more: the signals are complete in the last row of
the 60x7 matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.actions import EXECUTE, WAIT
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.types import NUM_AGENTS, NUM_FEATURES, FloatArray, IntArray
from rllib_tactical.errors import FeatureError, UsageError, require

MIN_AGE: Final = 5
NEAR: Final = 0.0018
"""A touched gap's edge is within this share of the close: about 0.8 ATR."""

STRONG_PERCENT: Final = 0.49
VOLUME_EXPANSION: Final = 2.0

Rule = Callable[[FloatArray, FloatArray], IntArray]
"""From raw rows (N, 7) and closes (N,) to sides (N,): +1, -1, or 0 for nothing to do."""


def gap_oracle(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the side of the nearest gap where it is touched, at least 5 bars old and near."""
    level = raw[:, 2]
    near = np.abs(level - close) <= NEAR * close
    signal = (raw[:, 4] > 0) & (raw[:, 3] >= MIN_AGE) & near
    return np.where(signal, np.sign(close - level), 0.0).astype(np.int64)


def momentum_oracle(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the sign of a strong 5-bar momentum that ends on expanding volume."""
    signal = (np.abs(raw[:, 5]) >= STRONG_PERCENT) & (raw[:, 6] >= VOLUME_EXPANSION)
    return np.where(signal, np.sign(raw[:, 5]), 0.0).astype(np.int64)


def both_oracle(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the gap oracle's side, or the momentum oracle's where it has none."""
    gap = gap_oracle(raw, close)
    return np.where(gap != 0, gap, momentum_oracle(raw, close))


ORACLES: Final[dict[str, Rule]] = {
    "gap": gap_oracle,
    "momentum": momentum_oracle,
    "regime": both_oracle,
    "noise": both_oracle,
}
"""By market. Noise has nothing to know: its entry trades the patterns that pay elsewhere."""


def oracle_votes(name: str, raw: FloatArray, close: FloatArray) -> Votes:
    """Return the oracle's votes, all with confidence 1.

    Where there is something to do fvg and momentum vote the side and entry executes; elsewhere fvg
    and momentum hold and entry waits.

    Args:
        name: the market.
        raw: (N, 60, 7) raw matrices, or (N, 7) their last rows.
        close: (N,) closes of the last bars.

    Raises:
        UsageError: an unknown market.
        FeatureError: wrong shapes.
    """
    require(name in ORACLES, f"market must be one of {', '.join(ORACLES)}", name, UsageError)
    if raw.ndim not in (2, 3) or raw.shape[-1] != NUM_FEATURES or close.shape != raw.shape[:1]:
        raise FeatureError(
            f"raw must have shape (N, 60, 7) or (N, 7) and close (N,), "
            f"found {raw.shape} and {close.shape}"
        )
    return side_votes(ORACLES[name](raw[:, -1] if raw.ndim == 3 else raw, close))


def side_votes(side: IntArray, confidence: float = 1.0) -> Votes:
    """Return votes with which all three agents trade ``side`` (N,), or do nothing where it is 0."""
    index = np.empty((len(side), NUM_AGENTS), dtype=np.int64)
    index[:, 0] = index[:, 1] = 1 - side
    index[:, 2] = np.where(side != 0, EXECUTE, WAIT)
    return constant_votes(index, confidence)

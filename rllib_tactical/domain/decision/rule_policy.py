"""Rule-based policies: the baseline of every report and the fallback of the decision service."""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.domain.decision.actions import EXECUTE, WAIT
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import NUM_AGENTS, NUM_FEATURES, FloatArray
from rllib_tactical.errors import FeatureError

VOLUME_HIGH: Final = 1.5
"""Volume ratio above which the entry agent executes; the synergy detector's threshold."""

GAP_CONFIDENCE: Final = 0.8
MOMENTUM_CONFIDENCE: Final = 0.7
ENTRY_CONFIDENCE: Final = 0.8
"""Constants for votes that act; all three give a score of .33 x .8 + .33 x .7 + .34 x .8 = .767."""

PASSIVE_CONFIDENCE: Final = 0.6
"""Confidence of hold, neutral and wait."""


def rule_votes(raw: FloatArray, close: FloatArray) -> Votes:
    """Return the votes of the rule: touched gap, direction of the last five bars, high volume.

    - fvg: only on a bar that touches a gap for the first time. Votes long when the nearest level
      lies below the close and a bullish gap is active, short when it lies above and a bearish gap
      is active. A close inside the zone has its level on the other side; then the kind of gap
      decides if only one kind is active. Hold otherwise.
    - momentum: the sign of price_momentum_5.
    - entry: executes when the volume ratio is above 1.5, waits otherwise; never aggressive.

    Swapping the two gap flags and reflecting level, close and momentum swaps long and short.

    Args:
        raw: (N, 7) float64, the last rows of the raw matrices.
        close: (N,) closes of the same bars, price units.

    Raises:
        FeatureError: wrong shapes, or values that are not finite.
    """
    raw, close = np.asarray(raw, dtype=np.float64), np.asarray(close, dtype=np.float64)
    require_shape(raw, ("N", NUM_FEATURES), np.float64, "raw", FeatureError)
    require_shape(close, raw.shape[:1], np.float64, "close", FeatureError)
    if not (np.isfinite(raw).all() and np.isfinite(close).all()):
        raise FeatureError("raw features and close must be finite")
    bullish, bearish = raw[:, 0] > 0, raw[:, 1] > 0
    level, touched = raw[:, 2], raw[:, 4] > 0
    below = (level < close) & bullish | bullish & ~bearish
    above = (level > close) & bearish | bearish & ~bullish
    gap_side = np.where(touched & (level != 0.0), below.astype(np.int64) - above, 0)
    trend = np.sign(raw[:, 5]).astype(np.int64)
    enters = raw[:, 6] > VOLUME_HIGH

    index = np.empty((len(close), NUM_AGENTS), dtype=np.int64)
    index[:, 0], index[:, 1] = 1 - gap_side, 1 - trend
    index[:, 2] = np.where(enters, EXECUTE, WAIT)
    confidence = np.full(index.shape, PASSIVE_CONFIDENCE)
    confidence[gap_side != 0, 0] = GAP_CONFIDENCE
    confidence[trend != 0, 1] = MOMENTUM_CONFIDENCE
    confidence[enters, 2] = ENTRY_CONFIDENCE
    return Votes(index, confidence)

"""The check against look-ahead: features of a prefix must equal the prefix of the features."""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.features.table import WARMUP_BARS, FeatureTable, compute_features
from rllib_tactical.domain.types import FEATURE_NAMES, WINDOW, Bars, FloatArray
from rllib_tactical.errors import FeatureError

GATE_BARS = 4_000
COLUMNS = (*FEATURE_NAMES, "atr_14", "synergy_kind", "synergy_direction", "synergy_confidence")


def check_causality(bars: Bars, samples: int = 8, seed: int = 0) -> None:
    """Compare features and synergies of bars[:t + 1] with those of longer histories, bit for bit.

    A stretch of up to 4,000 bars is drawn from the history and cut at ``samples`` random bars; the
    last row of every cut must equal the same row of the uncut stretch.

    Args:
        bars: the history that is about to be used.
        samples: number of cuts.
        seed: of the choice of stretch and cuts.

    Raises:
        FeatureError: a value changes when later bars are added; names the column and the bar.
    """
    rng = np.random.default_rng(seed)
    if len(bars) < 2:
        return
    length = min(len(bars), GATE_BARS)
    first = int(rng.integers(0, len(bars) - length + 1))
    stretch = bars[first : first + length]
    whole = _rows(compute_features(stretch))
    lowest = min(WARMUP_BARS + WINDOW, length - 1)
    for t in np.sort(rng.integers(lowest, length, samples)):
        cut = _rows(compute_features(stretch[: int(t) + 1]))
        differs = cut[-1] != whole[t]
        if differs.any():
            column = COLUMNS[int(np.flatnonzero(differs)[0])]
            raise FeatureError(
                f"{column} at bar {first + int(t)} changes when later bars are added: "
                f"{cut[-1][differs][0]!r} without, {whole[t][differs][0]!r} with them"
            )


def _rows(table: FeatureTable) -> FloatArray:
    synergy: SynergyTrack = detect_synergies(table)
    return np.column_stack(
        [table.raw, table.atr, synergy.kind, synergy.direction, synergy.confidence]
    )

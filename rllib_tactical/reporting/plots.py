"""Parts of plotly.js plots: axes, colors, thinning of long curves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from rllib_tactical.domain.types import FloatArray, IntArray

Plot = dict[str, Any]


MAX_POINTS: Final = 3_000


UP, DOWN, NEUTRAL = "#15803d", "#b91c1c", "#6b7280"


def thin(values: FloatArray, limit: int = MAX_POINTS) -> IntArray:
    """Return rows (R,) that keep the first, the last and the extremes of every stretch of values.

    At most about ``limit`` rows; all of them when there are no more.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, limit // 2 + 1).astype(np.int64)
    rows = [0, count - 1]
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        rows += [first + int(part.argmin()), first + int(part.argmax())]
    return np.unique(np.array(rows, dtype=np.int64))


def bar_axis(labels: list[str], count: int, offset: int = 0) -> dict[str, Any]:
    """Return an axis that counts bars and is labeled with times."""
    rows = np.unique(np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int))
    return {
        "type": "linear",
        "tickvals": (rows + offset).tolist(),
        "ticktext": [labels[row] for row in rows],
        "tickangle": 0,
        "tickfont": {"size": 10},
        "showgrid": False,
        "zeroline": False,
    }


def rounded(values: FloatArray, digits: int) -> list[float]:
    """Return plain numbers with few digits, to keep the document small."""
    plain: list[float] = np.round(values, digits).tolist()
    return plain

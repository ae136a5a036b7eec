"""Bars that are missing: how long ago, and for how long no order is given after them.

The features of a bar after a gap compare prices that lie further apart than they seem: a jump over
the missing bars looks like one bar's momentum, or like a fair value gap.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import WINDOW, BoolArray, IntArray

NO_GAP: Final = WINDOW
"""Stands for all bars whose window has no gap in it: what lies before counts no more."""


def bars_since_gap(missing: IntArray, before: int = NO_GAP) -> IntArray:
    """Return how many bars each bar is after the newest gap (T,): 0 on the first one after it.

    ``NO_GAP`` at most. A history and its parts, one after another, give the same.

    Args:
        missing: (T,) how many scheduled bars are missing between each bar and the one before.
        before: what it is at the bar before the first.

    Raises:
        ArrayError: ``missing`` is not (T,) of integers.
    """
    require_shape(missing, ("T",), np.integer, "missing")
    t = np.arange(len(missing))
    newest = np.maximum.accumulate(np.where(missing > 0, t, -1 - before))
    return np.minimum(t - newest, NO_GAP)


def holds_after_gap(since_gap: IntArray, hold_bars: int) -> BoolArray:
    """Return whether no order is given (T,): on the first ``hold_bars`` bars after a gap.

    Raises:
        ArrayError: ``since_gap`` is not (T,) of integers.
    """
    require_shape(since_gap, ("T",), np.integer, "since_gap")
    return since_gap < hold_bars

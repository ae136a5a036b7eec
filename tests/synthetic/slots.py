"""Slots of a synthetic market, written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_tactical.synthetic.plan import COMPLETE, GAP, SlotPlan

LEG, HOVER, DELAY, REST = 2, 5, 2, 4
GAP_SLOT_BARS = 2 + 2 + LEG + 3 + HOVER + DELAY + REST


def gap_slots(**columns: Any) -> SlotPlan:
    """Return gap slots of equal length, complete and bullish unless ``columns`` say otherwise.

    Every slot starts with a rise by 2 units and falls by 1.5 after the leg.
    """
    count = max((len(column) for column in columns.values()), default=1)
    values: dict[str, Any] = {
        "family": np.full(count, GAP),
        "fate": np.full(count, COMPLETE),
        "start": GAP_SLOT_BARS * np.arange(count),
        "length": np.full(count, GAP_SLOT_BARS),
        "rest": np.full(count, REST),
        "order": np.ones(count, dtype=np.int64),
        "side": np.ones(count, dtype=np.int64),
        "leg": np.full(count, LEG),
        "hover": np.full(count, HOVER),
        "delay": np.full(count, DELAY),
        "wait": np.zeros(count, dtype=np.int64),
        "calm": np.zeros(count, dtype=np.int64),
        "impulse": np.tile([2.0, 1.5], (count, 1)),
        "touched": np.ones(count, dtype=np.bool_),
        "pays": np.ones(count, dtype=np.bool_),
        "linked": np.ones(count, dtype=np.bool_),
    }
    return SlotPlan(**values | {name: np.asarray(column) for name, column in columns.items()})

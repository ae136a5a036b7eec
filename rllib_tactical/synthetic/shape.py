"""Give the bars of a synthetic market their prices, and its gaps their edges."""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.domain.features.fvg import find_births
from rllib_tactical.domain.types import Bars, FloatArray, IntArray
from rllib_tactical.synthetic.draw import Canvas, steps
from rllib_tactical.synthetic.plan import COMPLETE, HOVER_MAX, LEAD, LEG_MAX, SlotPlan

TICK: Final = 0.01
START_PRICE: Final = 100.0
UNIT: Final = 0.0025
"""One unit of the drawing: a log return near one ATR."""

Ticks = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""Open, high, low, close (T,) in whole ticks."""


def quote_ticks(canvas: Canvas) -> Ticks:
    """Return open, high, low, close in whole ticks."""
    close = np.cumsum(canvas.move)
    open_ = np.concatenate([[0.0], close[:-1]]) + canvas.jump
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    open_, high, low, close = (
        np.rint(START_PRICE / TICK * np.exp(UNIT * level))
        for level in (open_, top + canvas.upper, bottom - canvas.lower, close)
    )
    return open_, high, low, close


def shape_gaps(
    plan: SlotPlan,
    slots: IntArray,
    ticks: Ticks,
    noise: FloatArray,
) -> None:
    """Keep the price off the planted gaps until the touch, touch one, and remove all other gaps."""
    open_, high, low, close = ticks
    fate, leg = plan.fate[slots], plan.leg[slots]
    at_first = plan.side[slots] == plan.order[slots]
    birth = plan.start[slots] + LEAD + 1 + np.where(at_first, 0, leg + 3)
    # A slot that breaks off must not differ from the others before it does.
    near = plan.hover[slots] + plan.delay[slots] - plan.wait[slots] - 1
    calm = near + np.where(at_first, leg + 3, 0)
    calm = np.choose(fate, [calm, leg + 1, leg // 2])
    with_gap = (fate == COMPLETE) | at_first
    slots, birth, calm = slots[with_gap], birth[with_gap], calm[with_gap]
    planned = np.zeros(len(close), dtype=np.bool_)
    planned[birth] = True

    bullish = plan.side[slots] > 0
    edge = np.where(bullish, low[birth], high[birth])
    bottom, top = np.where(bullish, edge, -np.inf), np.where(bullish, np.inf, edge)
    offset, inside = steps(LEG_MAX + 3 + HOVER_MAX, calm)
    row = np.nonzero(inside)[0]
    _confine(ticks, (birth[:, None] + 1 + offset)[inside], bottom[row], top[row])

    touch = plan.start[slots] + LEAD + plan.leg[slots] + 4 + plan.hover[slots]
    touched = plan.touched[slots] & (plan.fate[slots] == COMPLETE)
    bar, bullish, edge = touch[touched], bullish[touched], edge[touched]
    depth = np.maximum(np.rint((0.15 + 0.05 * np.abs(noise[bar])) * UNIT * edge), 1.0)
    low[bar] = np.where(bullish, edge - depth, low[bar])
    high[bar] = np.where(bullish, high[bar], edge + depth)

    births = find_births(Bars(np.arange(len(close)), open_, high, low, close, close))
    rising, falling = (
        np.flatnonzero((births > 0) & ~planned),
        np.flatnonzero((births < 0) & ~planned),
    )
    low[rising], high[falling] = high[rising - 2], low[falling - 2]


def _confine(
    ticks: Ticks,
    bar: IntArray,
    bottom: FloatArray,
    top: FloatArray,
) -> None:
    """Keep whole bars strictly between ``bottom`` and ``top``; each follows on the bar before."""
    open_, high, low, close = ticks
    close[bar] = np.clip(close[bar], bottom + 1, top - 1)
    open_[bar] = np.clip(open_[bar], bottom + 1, top - 1)
    high[bar] = np.minimum(np.maximum(high[bar], np.maximum(open_[bar], close[bar])), top - 1)
    low[bar] = np.maximum(np.minimum(low[bar], np.minimum(open_[bar], close[bar])), bottom + 1)

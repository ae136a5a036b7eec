"""Draw the slots of a synthetic market: closes, opening jumps, wicks and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray
from rllib_tactical.synthetic.plan import (
    BREAKS_BACK,
    BREAKS_OUT,
    BURST,
    COMPLETE,
    GOES_ON,
    HOVER_MAX,
    LEAD,
    LEG_MAX,
    TURNS,
    SlotPlan,
)

_EDGE: Final = 0.4  # from the hovering price to the gap's near edge, units
_TIGHT: Final = 0.06
_STRONG_MOVE: Final = 2.0
_REVERSION: Final = 0.01  # share of the distance from the start price given back per slot


@dataclass(slots=True)
class Canvas:
    """Bars under construction, in units of log return; arrays of shape (T,).

    ``move`` close to close; ``jump`` the part of it that happens before the open; ``upper`` and
    ``lower`` wicks; ``activity`` multiplies the usual volume.
    """

    move: FloatArray
    jump: FloatArray
    upper: FloatArray
    lower: FloatArray
    activity: FloatArray


def draw_gap_slots(plan: SlotPlan, slots: IntArray, canvas: Canvas, noise: FloatArray) -> None:
    """Draw an impulse, a leg further on, an impulse back, and the hovering between their gaps.

    Both forks are fair whatever one knows before them: the leg's displacement is a single jump, on
    by R or (slot breaks back) the other way by R x 0.7 / 0.3; the second impulse goes back by B or
    (slot breaks out) on by B x 0.7 / 0.3.
    """
    start, order, leg = plan.start[slots], plan.order[slots], plan.leg[slots]
    fate, impulse = plan.fate[slots], order[:, None] * plan.impulse[slots]
    first = start + LEAD  # the impulse; the gap is born on the bar after it
    second = first + leg + 3
    _draw_impulse(canvas, noise, first, impulse[:, 0])

    offset, inside = steps(LEG_MAX, leg)
    bar = np.where(inside, first[:, None] + 2 + offset, first[:, None])
    canvas.move[bar[inside]] = 0.2 * noise[bar[inside]]
    wobble = np.where(inside, canvas.move[bar], 0.0).sum(axis=1) + canvas.move[first + 1]
    leap = first + 2 + leg // 2
    back = -impulse[:, 1] * GOES_ON / (1.0 - GOES_ON)
    canvas.jump[leap] = np.where(fate == BREAKS_BACK, back, impulse[:, 1] - wobble)
    canvas.move[leap] += canvas.jump[leap]

    turns, breaks = fate == COMPLETE, fate == BREAKS_OUT
    _draw_impulse(canvas, noise, second[turns], -impulse[turns, 1])
    out = second[breaks]
    canvas.jump[out] = impulse[breaks, 1] * TURNS / (1.0 - TURNS)
    canvas.move[out] = canvas.jump[out] + 0.1 * noise[out]
    canvas.activity[out] = 1.6
    _draw_hover(plan, slots[turns], canvas, noise)


def _draw_impulse(canvas: Canvas, noise: FloatArray, bar: IntArray, impulse: FloatArray) -> None:
    """Draw a large body with a gap around it, whose near edge lies ``_EDGE`` behind it."""
    for tight in (bar - 1, bar, bar + 1):
        canvas.upper[tight] = canvas.lower[tight] = _TIGHT
    for quiet in (bar - 1, bar + 1):
        canvas.move[quiet] = 0.05 * noise[quiet]
    canvas.move[bar] = impulse
    canvas.activity[bar] = 1.6
    rising = impulse > 0
    canvas.lower[bar[rising] + 1] = _EDGE
    canvas.upper[bar[~rising] + 1] = _EDGE


def _draw_hover(plan: SlotPlan, slots: IntArray, canvas: Canvas, noise: FloatArray) -> None:
    """Draw the bars near the gap, with the volume of the touch."""
    birth = plan.start[slots] + LEAD + plan.leg[slots] + 4
    near = plan.hover[slots] + plan.delay[slots] - plan.wait[slots] - 1
    offset, inside = steps(HOVER_MAX, near)
    bar = np.where(inside, birth[:, None] + 1 + offset, birth[:, None])
    height = np.clip(0.12 * noise[bar], -0.25, 0.25)
    before = np.concatenate([canvas.move[birth][:, None], height[:, :-1]], axis=1)
    canvas.move[bar[inside]] = (height - before)[inside]
    for wick in (canvas.upper, canvas.lower):
        wick[bar[inside]] *= 0.6
    # An untouched gap has the same volume: only the wick tells.
    canvas.activity[birth + plan.hover[slots]] = 1.9


def draw_burst_slots(
    plan: SlotPlan, slots: IntArray, canvas: Canvas, noise: FloatArray
) -> IntArray:
    """Draw volatile bars; return the sign (K,) of those that add up to a strong move, else 0.

    The bars are independent, so that nothing about the move can be known before it is over.
    """
    bar = plan.start[slots][:, None] + LEAD + np.arange(BURST)
    canvas.move[bar] = 1.1 * noise[bar]
    total = canvas.move[bar].sum(axis=1)
    side = np.where(np.abs(total) >= _STRONG_MOVE, np.sign(total), 0.0).astype(np.int64)
    canvas.activity[bar[:, -1]] = np.where(side != 0, 4.0, 1.0)
    return side


def steps(most: int, count: IntArray) -> tuple[IntArray, BoolArray]:
    """Return offsets (1, most) and which of them each of K slots uses (K, most)."""
    offset = np.arange(most)[None, :]
    return offset, offset < count[:, None]


def pull_back(plan: SlotPlan, move: FloatArray) -> None:
    """Let the price return to its start slowly, by moves in the quiet bars of each slot."""
    totals = np.add.reduceat(move, plan.start).tolist()
    level, pull = 0.0, []
    for total in totals:
        pull.append(-_REVERSION * level)
        level += total + pull[-1]
    end = plan.start + plan.length
    per_bar = np.array(pull) / plan.rest
    change = np.zeros(len(move) + 1)
    np.add.at(change, end - plan.rest, per_bar)
    np.add.at(change, end, -per_bar)
    move += np.cumsum(change[:-1])

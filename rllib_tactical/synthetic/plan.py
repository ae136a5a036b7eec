"""What happens when in a synthetic market: one slot after the other, each with its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray

MARKETS: Final = ("gap", "momentum", "regime", "noise")
GAP, MOMENTUM = 0, 1
COMPLETE, BREAKS_OUT, BREAKS_BACK = 0, 1, 2

LEAD: Final = 2
"""Bars of a slot before anything happens."""
BURST: Final = 5
"""Volatile bars of a momentum slot: what the 5-bar momentum spans."""
LEG_MAX: Final = 3
HOVER_MAX: Final = 12
"""Most bars that the price spends near a gap: at most 8 to the touch, 4 to the jump."""
GOES_ON, TURNS = 0.7, 0.7
"""Probabilities that a gap slot does not break off at its two forks."""
SLOT_BARS_MIN: Final = 8
_SLOT_DRAWS = 12


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What happens in each of S slots; arrays of shape (S,)."""

    family: IntArray
    fate: IntArray  # gap slots: COMPLETE, or where it breaks off
    start: IntArray
    length: IntArray
    rest: IntArray  # quiet bars at the end of the slot
    order: IntArray  # gap slots: sign of the first impulse
    side: IntArray  # gap slots: the gap's, +1 bullish
    leg: IntArray  # gap slots: bars between the first gap and the second impulse
    hover: IntArray  # gap slots: bars from the second impulse's end to the touch
    delay: IntArray  # bars from the signal to the jump
    impulse: FloatArray  # (S, 2) units
    touched: BoolArray  # gap slots: the gap is touched before the jump
    pays: BoolArray
    linked: BoolArray


def plan_slots(name: str, seed: int, bars: int, difficulty: float) -> SlotPlan:
    """Return slots that cover at least ``bars`` bars."""
    # A row of draws per slot keeps early slots the same for any length.
    count = bars // SLOT_BARS_MIN + 1
    draw = np.random.default_rng([seed, 0]).random((count, _SLOT_DRAWS))
    decoys = 0.05 + 0.25 * difficulty
    skips = 0.1 + 0.3 * difficulty
    if name == "regime":
        # One draw decides whether the regime changes after a slot; a regime lasts ~20 slots.
        home = np.cumsum(draw[:, 0] < 1.0 / 20.0) % 2
    elif name == "noise":
        home, decoys = np.zeros(count, dtype=np.int64), 0.5
    else:
        home = np.full(count, MARKETS.index(name))
    family = np.where(draw[:, 1] < decoys, 1 - home, home)
    linked = (family == home) & (name != "noise")
    forks = np.cumsum([GOES_ON * TURNS, GOES_ON * (1 - TURNS)])
    fate = np.where(family == GAP, np.searchsorted(forks, draw[:, 7], side="right"), COMPLETE)
    leg = 2 + _pick(draw[:, 2], LEG_MAX - 1)
    hover = 5 + _pick(draw[:, 3], 4)
    delay = 2 + _pick(draw[:, 4], 3)
    rest = 2 + np.floor((1.0 + 30.0 * difficulty) * (0.5 + draw[:, 5])).astype(np.int64)
    # lead, impulse, birth and leg; then quiet bar, impulse, birth; then hover, delay to the jump
    gap_length = LEAD + 2 + leg + np.choose(fate, [3 + hover + delay, 3, 0])
    length = np.where(family == GAP, gap_length, LEAD + BURST + delay) + rest
    return SlotPlan(
        family=family,
        fate=fate,
        start=np.concatenate([[0], np.cumsum(length)[:-1]]),
        length=length,
        rest=rest,
        order=_sign(draw[:, 6]),
        side=_sign(draw[:, 6] * 2.0 % 1.0),
        leg=leg,
        hover=hover,
        delay=delay,
        impulse=1.2 + 0.3 * draw[:, 8:10],
        touched=(family == MOMENTUM) | (draw[:, 10] >= skips),
        pays=draw[:, 11] < np.where(linked, pay_probability(difficulty), 0.5),
        linked=linked,
    )


def pay_probability(difficulty: float) -> float:
    """Return the probability that a linked signal pays: 0.97 at difficulty 0, 0.6 at 1."""
    return 0.97 - 0.37 * difficulty


def _pick(uniform: FloatArray, choices: int) -> IntArray:
    return np.floor(uniform * choices).astype(np.int64)


def _sign(uniform: FloatArray) -> IntArray:
    return np.where(uniform < 0.5, 1, -1)

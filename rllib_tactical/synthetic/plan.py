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


EXCURSION_MIN: Final = 3
"""Fewest bars from an excursion to the jump."""
DRIFT_BARS: Final = 57_600
"""Bars of one wave of an edge that changes over time: 200 sessions around the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTerms:
    """What slots are like.

    ``home`` family whose signals are linked, or "regime", "noise". ``decoys`` share of slots of
    the other family; ``skips`` of gaps that are never touched; ``quiet`` mean quiet bars after a
    slot, beside two; ``pays`` probability that a linked signal pays, which swings by the share
    ``drift`` of what it is above 1/2; ``excursion``: the price goes against each signal first;
    ``slow``: most calm bars before a jump, beside those of every slot;
    ``session_bars``: no slot crosses a session of so many bars (0: they may).
    """

    home: str
    decoys: float
    skips: float
    quiet: float
    pays: float
    drift: float = 0.0
    excursion: bool = False
    slow: int = 0
    session_bars: int = 0


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
    wait: IntArray  # bars from an excursion against the signal to the jump; 0: there is none
    calm: IntArray  # calm bars right before the jump, part of ``wait``
    impulse: FloatArray  # (S, 2) units
    touched: BoolArray  # gap slots: the gap is touched before the jump
    pays: BoolArray
    linked: BoolArray


def plan_slots(name: str, seed: int, bars: int, difficulty: float) -> SlotPlan:
    """Return slots of a market of fixed difficulty that cover at least ``bars`` bars."""
    return plan_terms(terms_of(name, difficulty), seed, bars)


def terms_of(name: str, difficulty: float) -> SlotTerms:
    """Return the terms of a market of fixed difficulty."""
    return SlotTerms(
        home=name,
        decoys=0.5 if name == "noise" else 0.05 + 0.25 * difficulty,
        skips=0.1 + 0.3 * difficulty,
        quiet=1.0 + 30.0 * difficulty,
        pays=pay_probability(difficulty),
    )


def plan_terms(terms: SlotTerms, seed: int, bars: int) -> SlotPlan:
    """Return slots that cover at least ``bars`` bars."""
    # A row of draws per slot keeps early slots the same for any length.
    count = bars // SLOT_BARS_MIN + 1
    draw = np.random.default_rng([seed, 0]).random((count, _SLOT_DRAWS))
    if terms.home == "regime":
        # One draw decides whether the regime changes after a slot; a regime lasts ~20 slots.
        home = np.cumsum(draw[:, 0] < 1.0 / 20.0) % 2
    elif terms.home == "noise":
        home = np.zeros(count, dtype=np.int64)
    else:
        home = np.full(count, MARKETS.index(terms.home))
    family = np.where(draw[:, 1] < terms.decoys, 1 - home, home)
    linked = (family == home) & (terms.home != "noise")
    forks = np.cumsum([GOES_ON * TURNS, GOES_ON * (1 - TURNS)])
    fate = np.where(family == GAP, np.searchsorted(forks, draw[:, 7], side="right"), COMPLETE)
    leg = 2 + _pick(draw[:, 2], LEG_MAX - 1)
    hover = 5 + _pick(draw[:, 3], 4)
    wait = np.zeros(count, dtype=np.int64)
    if terms.excursion:
        wait += EXCURSION_MIN + _pick(np.random.default_rng([seed, 5]).random(count), 3)
    calm = _pick(np.random.default_rng([seed, 8]).random(count), terms.slow + 1)
    wait += calm
    delay = 2 + _pick(draw[:, 4], 3) + wait
    rest = 2 + np.floor(terms.quiet * (0.5 + draw[:, 5])).astype(np.int64)
    # lead, impulse, birth and leg; then quiet bar, impulse, birth; then hover, delay to the jump
    gap_length = LEAD + 2 + leg + np.choose(fate, [3 + hover + delay, 3, 0])
    length = np.where(family == GAP, gap_length, LEAD + BURST + delay) + rest
    if terms.session_bars:
        rest, length = _align(rest, length, terms.session_bars)
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    return SlotPlan(
        family=family,
        fate=fate,
        start=start,
        length=length,
        rest=rest,
        order=_sign(draw[:, 6]),
        side=_sign(draw[:, 6] * 2.0 % 1.0),
        leg=leg,
        hover=hover,
        delay=delay,
        wait=wait,
        calm=calm,
        impulse=1.2 + 0.3 * draw[:, 8:10],
        touched=(family == MOMENTUM) | (draw[:, 10] >= terms.skips),
        pays=draw[:, 11] < np.where(linked, _pays_at(terms, seed, start), 0.5),
        linked=linked,
    )


def _pays_at(terms: SlotTerms, seed: int, start: IntArray) -> FloatArray:
    """Return the probability (S,) that a linked signal pays, which may change over time."""
    phase = np.random.default_rng([seed, 6]).random()
    wave = np.cos(2.0 * np.pi * (start / DRIFT_BARS + phase))
    changed: FloatArray = 0.5 + (terms.pays - 0.5) * (1.0 + terms.drift * wave)
    return np.minimum(changed, 1.0)


def _align(rest: IntArray, length: IntArray, session: int) -> tuple[IntArray, IntArray]:
    """Return ``rest`` and ``length`` (S,) with longer rests, so that no slot crosses a session."""
    rest, length = rest.copy(), length.copy()
    end = 0
    for k, bars in enumerate(length.tolist()):
        left = -end % session
        if k and bars > left > 0:
            rest[k - 1] += left
            length[k - 1] += left
            end += left
        end += bars
    return rest, length


def pay_probability(difficulty: float) -> float:
    """Return the probability that a linked signal pays: 0.97 at difficulty 0, 0.6 at 1."""
    return 0.97 - 0.37 * difficulty


def _pick(uniform: FloatArray, choices: int) -> IntArray:
    return np.floor(uniform * choices).astype(np.int64)


def _sign(uniform: FloatArray) -> IntArray:
    return np.where(uniform < 0.5, 1, -1)

"""Seeded synthetic markets with a planted edge, for judging whether training works at all.

A market is a sequence of slots. A gap slot builds a bullish gap below and a bearish gap above the
price, hovers between them, and touches one of them with a wick; which one is a coin toss that only
the wick shows. A momentum slot is a burst of volatile bars; when its five bars add up to a strong move,
the last of them trades on several times the usual volume. Two to four bars after the signal the
price opens away by several ATR.

What differs between the markets is only whose jumps follow their signal: in a linked slot the jump
goes the signal's way with probability p, in every other slot either way with probability 1/2.
Hence closes and volumes carry no information about the jumps of gap slots, and wicks and gaps none
about those of momentum slots; a rule of the other family can only lose its costs. The jump comes
between two bars: spread over several, it would feed trend followers; inside a bar, brackets with a
near stop and a far target would profit from jumps of either sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.data.instruments import load_instrument, resolve_base_quantity
from rllib_tactical.data.sessions import sessions_of
from rllib_tactical.domain.features import compute_features
from rllib_tactical.domain.fvg import find_births
from rllib_tactical.domain.tape import EMBARGO_BARS, Tape, build_tape
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, Instrument, IntArray, Sessions
from rllib_tactical.errors import UsageError

MARKETS: Final = ("gap", "momentum", "regime", "noise")
GAP, MOMENTUM = 0, 1
COMPLETE, BREAKS_OUT, BREAKS_BACK = 0, 1, 2

START_S: Final = 946_857_600  # Monday 2000-01-03 00:00 UTC
BAR_S: Final = 300
MAX_BARS: Final = 2_500_000  # what lies between the start and the present
TICK: Final = 0.01
START_PRICE: Final = 100.0
UNIT: Final = 0.0025
"""One unit of the construction below: a log return near one ATR."""

_LEAD = 2
_BURST = 5
_LEG_MAX = 3
_HOVER_MAX = 12
_EDGE = 0.4  # from the hovering price to the gap's near edge, units
_TIGHT = 0.06
_STRONG_MOVE = 2.0
_REVERSION = 0.01  # share of the distance from the start price given back per slot
_JUMP = (3.0, 4.6)  # gap, momentum: units
_GOES_ON, _TURNS = 0.7, 0.7  # probabilities that a gap slot does not break off at its two forks
_SLOT_DRAWS = 12


@dataclass(frozen=True, slots=True)
class Signals:
    """Where patterns were planted, in time order. Arrays have shape (K,).

    ``bar`` int64: the bar at whose close the signal is complete; ``family`` int64: 0 gap touch,
    1 momentum; ``side`` int64: +1 / -1 as the signal points; ``jump`` int64: the bar that opens
    away; ``paid`` bool: the jump goes the signal's way; ``linked`` bool: it does so with
    probability p instead of 1/2.
    """

    bar: IntArray
    family: IntArray
    side: IntArray
    jump: IntArray
    paid: BoolArray
    linked: BoolArray


@dataclass(frozen=True, slots=True)
class LearnabilityMarket:
    """A synthetic market: ``bars`` with their ``sessions``, and the ``instrument`` sized for them.

    ``signals`` is what the generator knows and no policy may see.
    """

    name: str
    seed: int
    difficulty: float
    bars: Bars
    sessions: Sessions
    instrument: Instrument
    signals: Signals

    def tape(self) -> Tape:
        """Return the market ready for replay."""
        return build_tape(self.bars, self.sessions, self.instrument)


def make_market(name: str, seed: int, bars: int, difficulty: float = 0.0) -> LearnabilityMarket:
    """Return a learnability market.

    Equal arguments give equal markets, and the first bars do not depend on how many are asked for.

    Args:
        name: "gap", "momentum", "regime" (switches between the two every day or two) or "noise".
        seed: any integer >= 0.
        bars: number of 5-minute bars, around the clock from 2000-01-03 UTC.
        difficulty: 0 (frequent signals that pay with probability 0.97) to 1 (rare, 0.6).

    Raises:
        UsageError: an unknown name or a value out of range.
    """
    _require(name in MARKETS, "market", name, f"one of {', '.join(MARKETS)}")
    _require(seed >= 0, "seed", seed, "an integer >= 0")
    _require(
        EMBARGO_BARS < bars <= MAX_BARS, "bars", bars, f"{EMBARGO_BARS + 1} to {MAX_BARS} bars"
    )
    _require(0.0 <= difficulty <= 1.0, "difficulty", difficulty, "a number from 0 to 1")
    plan = _plan(name, seed, bars, difficulty)
    history, signals = _render(plan, seed, bars)
    instrument = resolve_base_quantity(
        load_instrument("SYNTH"), float(np.mean(compute_features(history).atr))
    )
    sessions = sessions_of(history, instrument)
    return LearnabilityMarket(name, seed, difficulty, history, sessions, instrument, signals)


def pay_probability(difficulty: float) -> float:
    """Return the probability that a linked signal pays: 0.97 at difficulty 0, 0.6 at 1."""
    return 0.97 - 0.37 * difficulty


def _require(condition: bool, name: str, found: object, expected: str) -> None:
    if not condition:
        raise UsageError(f"{name}: found {found!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class _Plan:
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


def _plan(name: str, seed: int, bars: int, difficulty: float) -> _Plan:
    # The shortest slot has 9 bars; a row of draws per slot keeps early slots the same for any length.
    count = bars // 9 + 2
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
    forks = np.cumsum([_GOES_ON * _TURNS, _GOES_ON * (1 - _TURNS)])
    fate = np.where(family == GAP, np.searchsorted(forks, draw[:, 7], side="right"), COMPLETE)
    leg = 2 + _pick(draw[:, 2], _LEG_MAX - 1)
    hover = 5 + _pick(draw[:, 3], 4)
    delay = 2 + _pick(draw[:, 4], 3)
    rest = 2 + np.floor((1.0 + 30.0 * difficulty) * (0.5 + draw[:, 5])).astype(np.int64)
    # lead, impulse, birth and leg; then quiet bar, impulse, birth; then hover, delay to the jump
    gap_length = _LEAD + 2 + leg + np.choose(fate, [3 + hover + delay, 3, 0])
    length = np.where(family == GAP, gap_length, _LEAD + _BURST + delay) + rest
    return _Plan(
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


def _pick(uniform: FloatArray, choices: int) -> IntArray:
    return np.floor(uniform * choices).astype(np.int64)


def _sign(uniform: FloatArray) -> IntArray:
    return np.where(uniform < 0.5, 1, -1)


@dataclass(slots=True)
class _Canvas:
    """Bars under construction, in units of log return; arrays of shape (T,).

    ``move`` close to close; ``jump`` the part of it that happens before the open; ``upper`` and
    ``lower`` wicks; ``activity`` multiplies the usual volume.
    """

    move: FloatArray
    jump: FloatArray
    upper: FloatArray
    lower: FloatArray
    activity: FloatArray


def _render(plan: _Plan, seed: int, bars: int) -> tuple[Bars, Signals]:
    count = int(np.searchsorted(plan.start, bars))
    plan = _Plan(*(getattr(plan, name)[:count] for name in _Plan.__slots__))
    length = int(plan.start[-1] + plan.length[-1])
    normal, wick_up, wick_down, traded = (
        np.random.default_rng([seed, stream]) for stream in range(1, 5)
    )
    noise = normal.standard_normal(length)
    canvas = _Canvas(
        move=0.35 * noise,
        jump=np.zeros(length),
        upper=0.3 * wick_up.standard_exponential(length),
        lower=0.3 * wick_down.standard_exponential(length),
        activity=np.ones(length),
    )
    gap_slots = np.flatnonzero(plan.family == GAP)
    burst_slots = np.flatnonzero(plan.family == MOMENTUM)
    _draw_gap_slots(plan, gap_slots, canvas, noise)
    burst_side = _draw_burst_slots(plan, burst_slots, canvas, noise)

    side = np.where(plan.fate == COMPLETE, plan.side, 0)
    side[burst_slots] = burst_side
    jump = plan.start + plan.length - plan.rest - 1
    way = np.where(plan.pays == plan.touched, side, -side)
    leaps, size = jump[side != 0], (np.where(plan.family == GAP, *_JUMP) * way)[side != 0]
    canvas.jump[leaps] = size
    canvas.move[leaps] = size + np.clip(0.1 * noise[leaps], -0.2, 0.2)
    signals = _choose(
        Signals(jump - plan.delay, plan.family, side, jump, plan.pays, plan.linked),
        (side != 0) & plan.touched & (jump < bars),
    )
    _pull_back(plan, canvas.move)

    ticks = _quote(canvas)
    _shape_gaps(plan, gap_slots, ticks, noise)
    volume = np.rint(
        1000.0 * canvas.activity * np.exp(0.2 * traded.standard_normal(length)) * _daily(length)
    )
    open_, high, low, close = (np.round(column * TICK, 2)[:bars] for column in ticks)
    time_s = START_S + BAR_S * np.arange(bars, dtype=np.int64)
    history = Bars(time_s, open_, high, low, close, volume[:bars])
    return history, signals


def _choose(signals: Signals, kept: BoolArray) -> Signals:
    return Signals(*(getattr(signals, name)[kept] for name in Signals.__slots__))


def _draw_gap_slots(plan: _Plan, slots: IntArray, canvas: _Canvas, noise: FloatArray) -> None:
    """Draw an impulse, a leg further on, an impulse back, and the hovering between their gaps.

    Both forks are fair whatever one knows before them: the leg's displacement is a single jump, on
    by R or (slot breaks back) the other way by R x 0.7 / 0.3; the second impulse goes back by B or
    (slot breaks out) on by B x 0.7 / 0.3.
    """
    start, order, leg = plan.start[slots], plan.order[slots], plan.leg[slots]
    fate, impulse = plan.fate[slots], order[:, None] * plan.impulse[slots]
    first = start + _LEAD  # the impulse; the gap is born on the bar after it
    second = first + leg + 3
    _draw_impulse(canvas, noise, first, impulse[:, 0])

    offset, inside = _steps(_LEG_MAX, leg)
    bar = np.where(inside, first[:, None] + 2 + offset, first[:, None])
    canvas.move[bar[inside]] = 0.2 * noise[bar[inside]]
    wobble = np.where(inside, canvas.move[bar], 0.0).sum(axis=1) + canvas.move[first + 1]
    leap = first + 2 + leg // 2
    back = -impulse[:, 1] * _GOES_ON / (1.0 - _GOES_ON)
    canvas.jump[leap] = np.where(fate == BREAKS_BACK, back, impulse[:, 1] - wobble)
    canvas.move[leap] += canvas.jump[leap]

    turns, breaks = fate == COMPLETE, fate == BREAKS_OUT
    _draw_impulse(canvas, noise, second[turns], -impulse[turns, 1])
    out = second[breaks]
    canvas.jump[out] = impulse[breaks, 1] * _TURNS / (1.0 - _TURNS)
    canvas.move[out] = canvas.jump[out] + 0.1 * noise[out]
    canvas.activity[out] = 1.6
    _draw_hover(plan, slots[turns], canvas, noise)


def _draw_impulse(canvas: _Canvas, noise: FloatArray, bar: IntArray, impulse: FloatArray) -> None:
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


def _draw_hover(plan: _Plan, slots: IntArray, canvas: _Canvas, noise: FloatArray) -> None:
    """Draw the bars near the gap, with the volume of the touch."""
    birth = plan.start[slots] + _LEAD + plan.leg[slots] + 4
    offset, inside = _steps(_HOVER_MAX, plan.hover[slots] + plan.delay[slots] - 1)
    bar = np.where(inside, birth[:, None] + 1 + offset, birth[:, None])
    height = np.clip(0.12 * noise[bar], -0.25, 0.25)
    before = np.concatenate([canvas.move[birth][:, None], height[:, :-1]], axis=1)
    canvas.move[bar[inside]] = (height - before)[inside]
    for wick in (canvas.upper, canvas.lower):
        wick[bar[inside]] *= 0.6
    # An untouched gap has the same volume: only the wick tells.
    canvas.activity[birth + plan.hover[slots]] = 1.9


def _draw_burst_slots(plan: _Plan, slots: IntArray, canvas: _Canvas, noise: FloatArray) -> IntArray:
    """Draw volatile bars; return the sign (K,) of those that add up to a strong move, else 0.

    The bars are independent, so that nothing about the move can be known before it is over.
    """
    bar = plan.start[slots][:, None] + _LEAD + np.arange(_BURST)
    canvas.move[bar] = 1.1 * noise[bar]
    total = canvas.move[bar].sum(axis=1)
    side = np.where(np.abs(total) >= _STRONG_MOVE, np.sign(total), 0.0).astype(np.int64)
    canvas.activity[bar[:, -1]] = np.where(side != 0, 4.0, 1.0)
    return side


def _steps(most: int, count: IntArray) -> tuple[IntArray, BoolArray]:
    """Return offsets (1, most) and which of them each of K slots uses (K, most)."""
    offset = np.arange(most)[None, :]
    return offset, offset < count[:, None]


def _pull_back(plan: _Plan, move: FloatArray) -> None:
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


def _quote(canvas: _Canvas) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return open, high, low, close in whole ticks."""
    close = np.cumsum(canvas.move)
    open_ = np.concatenate([[0.0], close[:-1]]) + canvas.jump
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    open_, high, low, close = (
        np.rint(START_PRICE / TICK * np.exp(UNIT * level))
        for level in (open_, top + canvas.upper, bottom - canvas.lower, close)
    )
    return open_, high, low, close


def _shape_gaps(
    plan: _Plan,
    slots: IntArray,
    ticks: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    noise: FloatArray,
) -> None:
    """Keep the price off the planted gaps until the touch, touch one, and remove all other gaps."""
    open_, high, low, close = ticks
    fate, leg = plan.fate[slots], plan.leg[slots]
    at_first = plan.side[slots] == plan.order[slots]
    birth = plan.start[slots] + _LEAD + 1 + np.where(at_first, 0, leg + 3)
    # A slot that breaks off must not differ from the others before it does.
    calm = plan.hover[slots] + plan.delay[slots] - 1 + np.where(at_first, leg + 3, 0)
    calm = np.choose(fate, [calm, leg + 1, leg // 2])
    with_gap = (fate == COMPLETE) | at_first
    slots, birth, calm = slots[with_gap], birth[with_gap], calm[with_gap]
    planned = np.zeros(len(close), dtype=np.bool_)
    planned[birth] = True

    bullish = plan.side[slots] > 0
    edge = np.where(bullish, low[birth], high[birth])
    bottom, top = np.where(bullish, edge, -np.inf), np.where(bullish, np.inf, edge)
    offset, inside = _steps(_LEG_MAX + 3 + _HOVER_MAX, calm)
    row = np.nonzero(inside)[0]
    _confine(ticks, (birth[:, None] + 1 + offset)[inside], bottom[row], top[row])

    touch = plan.start[slots] + _LEAD + plan.leg[slots] + 4 + plan.hover[slots]
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
    ticks: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
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


def _daily(length: int) -> FloatArray:
    """Return the mild daily rhythm of volume (T,)."""
    day = 86_400 // BAR_S
    angle = 2.0 * np.pi * np.arange(length) / day
    rhythm: FloatArray = 1.0 + 0.3 * np.cos(angle)
    return rhythm

"""Seeded synthetic markets with a planted edge, for judging whether training works at all.

A market is a sequence of slots. In a gap slot the price jumps up and down again, or down and up;
a coin toss decides whether the rise leaves a bullish gap below or the fall a bearish one above,
and only the wicks show which. The price hovers near the gap until a wick touches it, and two to
four bars later it opens away by several ATR; in some slots it opens away before any touch. A
momentum slot is a burst of volatile bars; when its five bars add up to a strong move, the last of
them trades on several times the usual volume, and two to four bars later the price opens away.

What differs between the markets is only whose jumps follow their signal: in a linked slot the jump
goes the signal's way with probability p (and against a gap that was not touched), in every other
slot either way with probability 1/2. Closes and volumes carry no information about the jumps of
gap slots, and gaps none about those of momentum slots, so that a rule of the other family can only
lose its costs. The jumps come between two bars: spread over several bars they would feed trend
followers; inside a bar, brackets with a near stop and a far target would profit from either sign.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.instruments import load_instrument, resolve_base_quantity
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory, build_history
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, Instrument, IntArray, Sessions
from rllib_tactical.errors import UsageError, require
from rllib_tactical.synthetic.draw import (
    Canvas,
    draw_burst_slots,
    draw_gap_slots,
    pull_back,
    steps,
)
from rllib_tactical.synthetic.parameters import (
    JUMP,
    SESSION_BARS,
    MarketParameters,
    parameters_named,
)
from rllib_tactical.synthetic.plan import (
    COMPLETE,
    GAP,
    MARKETS,
    MOMENTUM,
    SlotPlan,
    plan_terms,
    terms_of,
)
from rllib_tactical.synthetic.shape import TICK, quote_ticks, shape_gaps

START_S: Final = 946_857_600  # Monday 2000-01-03 00:00 UTC
MAX_BARS: Final = 2_500_000  # what lies between the start and the present
_JUMP: Final = (3.0, 4.6)  # after gap and momentum signals: beyond the target of 3 ATR, in units
_AFTER_EXCURSION: Final = 1.25  # what an excursion adds to the ATR
_MAX_MOVE: Final = 8.0


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
class SyntheticMarket:
    """A synthetic market: ``bars`` with their ``sessions``, and the ``instrument`` sized for them.

    ``signals`` is what the generator knows and no policy may see. ``parameters`` of a market that
    is made from parameters; its ``difficulty`` is 0.
    """

    name: str
    seed: int
    difficulty: float
    bars: Bars
    sessions: Sessions
    instrument: Instrument
    signals: Signals
    parameters: MarketParameters | None = None

    def history(self) -> MarketHistory:
        """Return the market ready for replay."""
        return build_history(self.bars, self.sessions, self.instrument)


def make_market(name: str, seed: int, bars: int, difficulty: float = 0.0) -> SyntheticMarket:
    """Return a synthetic market.

    Equal arguments give equal markets, and the first bars do not depend on how many are asked for.

    Args:
        name: "gap", "momentum", "regime" (switches between the two every day or two) or "noise";
            or a market with parameters, "timing" or "drawn-N", whose parameters N draws.
        seed: any integer >= 0.
        bars: number of 5-minute bars, around the clock from 2000-01-03 UTC.
        difficulty: 0 (frequent signals that pay with probability 0.97) to 1 (rare, 0.6). Markets
            with parameters have none.

    Raises:
        UsageError: an unknown name or a value out of range.
    """
    parameters = parameters_named(name)
    if parameters is not None:
        require(difficulty == 0.0, f"difficulty of market {name} must be 0", difficulty, UsageError)
        return make_from_parameters(parameters, seed, bars, name)
    require(name in MARKETS, f"market must be one of {', '.join(MARKETS)}", name, UsageError)
    require(0.0 <= difficulty <= 1.0, "difficulty must be in [0, 1]", difficulty, UsageError)
    _require_size(seed, bars)
    plan = plan_terms(terms_of(name, difficulty), seed, bars)
    history, signals = _render(plan, seed, bars, _JUMP, MarketParameters())
    instrument = _sized(load_instrument("SYNTH"), history)
    sessions = sessions_of(history, instrument)
    return SyntheticMarket(name, seed, difficulty, history, sessions, instrument, signals)


def make_from_parameters(
    parameters: MarketParameters, seed: int, bars: int, name: str | None = None
) -> SyntheticMarket:
    """Return the market with these parameters, called ``name``, else by its family.

    Its instrument is SYNTH with costs that make ``cost_share`` of the edge.

    Raises:
        UsageError: a value out of range.
    """
    _require_size(seed, bars)
    plan = plan_terms(parameters.terms(), seed, bars)
    history, signals = _render(plan, seed, bars, JUMP, parameters)
    instrument = _with_costs(
        _sized(load_instrument("SYNTH"), history), parameters.cost_share * parameters.edge
    )
    sessions = sessions_of(history, instrument)
    name = name or parameters.family
    return SyntheticMarket(name, seed, 0.0, history, sessions, instrument, signals, parameters)


def _require_size(seed: int, bars: int) -> None:
    require(seed >= 0, "seed must be an integer >= 0", seed, UsageError)
    require(
        EMBARGO_BARS < bars <= MAX_BARS,
        f"bars must be in {EMBARGO_BARS + 1}..{MAX_BARS}",
        bars,
        UsageError,
    )


def _sized(instrument: Instrument, bars: Bars) -> Instrument:
    return resolve_base_quantity(instrument, float(np.mean(compute_features(bars).atr)))


def _with_costs(instrument: Instrument, dollars: float) -> Instrument:
    """Return the instrument with costs that make ``dollars`` of a trade that ends at its stop."""
    ticks = 2.0 * (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
    per_lot = ticks * instrument.point_value + 2.0 * instrument.commission_per_lot
    factor = dollars / (per_lot * (instrument.base_quantity or 1.0))
    return dataclasses.replace(
        instrument,
        half_spread_ticks=instrument.half_spread_ticks * factor,
        slippage_ticks=instrument.slippage_ticks * factor,
        commission_per_lot=instrument.commission_per_lot * factor,
    )


def _render(
    plan: SlotPlan,
    seed: int,
    bars: int,
    jumps: tuple[float, float],
    parameters: MarketParameters,
) -> tuple[Bars, Signals]:
    count = int(np.searchsorted(plan.start, bars))
    plan = SlotPlan(*(getattr(plan, name)[:count] for name in SlotPlan.__slots__))
    length = int(plan.start[-1] + plan.length[-1])
    normal, wick_up, wick_down, traded = (
        np.random.default_rng([seed, stream]) for stream in range(1, 5)
    )
    noise = _moves(normal, parameters.tails, length)
    canvas = Canvas(
        move=0.35 * noise,
        jump=np.zeros(length),
        upper=0.3 * wick_up.standard_exponential(length),
        lower=0.3 * wick_down.standard_exponential(length),
        activity=np.ones(length),
    )
    gap_slots = np.flatnonzero(plan.family == GAP)
    burst_slots = np.flatnonzero(plan.family == MOMENTUM)
    draw_gap_slots(plan, gap_slots, canvas, noise)
    burst_side = draw_burst_slots(plan, burst_slots, canvas, noise)

    side = np.where(plan.fate == COMPLETE, plan.side, 0)
    side[burst_slots] = burst_side
    jump = plan.start + plan.length - plan.rest - 1
    way = np.where(plan.pays == plan.touched, side, -side)
    leaps, size = jump[side != 0], (np.where(plan.family == GAP, *jumps) * way)[side != 0]
    if parameters.slow:
        _calm_down(plan, jump, canvas, noise)
    if parameters.excursion:
        size *= _AFTER_EXCURSION
        first = (jump - plan.wait)[side != 0]
        canvas.jump[first] = -parameters.excursion * side[side != 0]
        canvas.move[first] = canvas.jump[first] + np.clip(0.1 * noise[first], -0.2, 0.2)
    canvas.jump[leaps] = size
    canvas.move[leaps] = size + np.clip(0.1 * noise[leaps], -0.2, 0.2)
    if parameters.session_gap:
        opens = np.arange(SESSION_BARS, length, SESSION_BARS)
        drawn = np.random.default_rng([seed, 7]).standard_normal(len(opens))
        canvas.jump[opens] = parameters.session_gap * np.clip(drawn, -3.0, 3.0)
        canvas.move[opens] += canvas.jump[opens]
    signals = _choose(
        Signals(jump - plan.delay, plan.family, side, jump, plan.pays, plan.linked),
        (side != 0) & plan.touched & (jump < bars),
    )
    pull_back(plan, canvas.move)

    ticks = quote_ticks(canvas)
    shape_gaps(plan, gap_slots, ticks, noise)
    volume = np.rint(
        1000.0 * canvas.activity * np.exp(0.2 * traded.standard_normal(length)) * _daily(length)
    )
    open_, high, low, close = (np.round(column * TICK, 2)[:bars] for column in ticks)
    time_s = START_S + BAR_SECONDS * np.arange(bars, dtype=np.int64)
    history = Bars(time_s, open_, high, low, close, volume[:bars])
    return history, signals


def _calm_down(plan: SlotPlan, jump: IntArray, canvas: Canvas, noise: FloatArray) -> None:
    """Keep the price about where it is in the calm bars before each slot's jump."""
    offset, inside = steps(int(plan.calm.max(initial=0)), plan.calm)
    bar = np.where(inside, (jump - plan.calm)[:, None] + offset, 0)
    height = np.clip(0.25 * noise[bar], -0.5, 0.5)
    before = np.concatenate([np.zeros((len(bar), 1)), height[:, :-1]], axis=1)
    canvas.move[bar[inside]] = (height - before)[inside]
    for wick in (canvas.upper, canvas.lower):
        wick[bar[inside]] *= 0.8


def _moves(normal: np.random.Generator, tails: float, length: int) -> FloatArray:
    """Return moves (T,) of variance 1: normal ones, or of Student's t with ``tails`` degrees."""
    noise = normal.standard_normal(length)
    if tails == 0.0:
        return noise
    # one chi-squared draw for each bar, from a stream that is split off, keeps early bars the same
    chi = np.array(normal.spawn(1)[0].chisquare(tails, length))
    heavy: FloatArray = noise * np.sqrt((tails - 2.0) / chi)
    return np.clip(heavy, -_MAX_MOVE, _MAX_MOVE)


def _choose(signals: Signals, kept: BoolArray) -> Signals:
    return Signals(*(getattr(signals, name)[kept] for name in Signals.__slots__))


def _daily(length: int) -> FloatArray:
    """Return the mild daily rhythm of volume (T,)."""
    day = 86_400 // BAR_SECONDS
    angle = 2.0 * np.pi * np.arange(length) / day
    rhythm: FloatArray = 1.0 + 0.3 * np.cos(angle)
    return rhythm

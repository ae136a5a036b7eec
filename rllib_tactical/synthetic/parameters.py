"""Synthetic markets that are made from parameters: a timing market, and a family drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.errors import UsageError, require
from rllib_tactical.synthetic.plan import EXCURSION_MIN, GOES_ON, TURNS, SlotTerms

SESSION_BARS: Final = 288
TIMING: Final = "timing"
DRAWN: Final = "drawn"

JUMP: Final = (4.0, 4.6)
"""After gap and momentum signals: beyond stop and target, in units of about one ATR."""
PAID: Final = 400.0
"""What a signal's trade gains where it pays and loses where it does not, in dollars at base size,
measured on both families: the jump opens beyond stop and target."""

_SKIPS: Final = 0.2
_BURST_STRONG: Final = 0.42  # share of bursts that end in a strong move
_BARS: Final = {"gap": 13.3, "momentum": 10.0}  # mean bars of a slot without its quiet bars
_MAX_SIGNALS: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketParameters:
    """What a synthetic market asks of those who trade it.

    Attributes:
        family: whose signals pay: "gap", "momentum", or both by turns, "regime".
        edge: what a trade on such a signal earns on average before costs, dollars at base size.
        cost_share: costs of a trade as a share of ``edge``.
        signals: how many such signals a session has, about.
        decoys: share of patterns of the other family, which are worth nothing.
        tails: degrees of freedom of Student's t, of which moves are drawn; 0: normal ones.
        drift: share of ``edge`` by which it swings over time, in waves of 200 sessions.
        session_gap: standard deviation of the jump from one session to the next, in ATR.
        excursion: ATR by which the price goes against a signal before it pays, 0: not at all.
            Beyond 2, the stop, who enters at once loses; who waits for it earns.
        slow: most calm bars that a signal takes longer to pay, drawn evenly from 0 for each.

    Raises:
        UsageError: a value is out of its range.
    """

    family: str = "gap"
    edge: float = 110.0
    cost_share: float = 0.07
    signals: float = 5.0
    decoys: float = 0.2
    tails: float = 0.0
    drift: float = 0.0
    session_gap: float = 0.0
    excursion: float = 0.0
    slow: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("edge", 0.0, PAID),
            ("cost_share", 0.0, 1.0),
            ("signals", 1.0, _MAX_SIGNALS),
            ("decoys", 0.0, 0.5),
            ("drift", 0.0, 1.0),
            ("session_gap", 0.0, 5.0),
            ("excursion", 0.0, 4.0),
            ("slow", 0, 100),
        ):
            value = getattr(self, name)
            require(
                low <= value <= high, f"{name} must be in [{low:g}, {high:g}]", value, UsageError
            )
        require(
            self.family in ("gap", "momentum", "regime"),
            "market must be gap, momentum or regime",
            self.family,
            UsageError,
        )
        require(
            self.tails == 0.0 or 2.5 <= self.tails <= 100.0,
            "tails must be 0 or in [2.5, 100]",
            self.tails,
            UsageError,
        )

    def terms(self) -> SlotTerms:
        """Return what the slots are like."""
        homes = ("gap", "momentum") if self.family == "regime" else (self.family,)
        wait = (EXCURSION_MIN + 1.0 if self.excursion else 0.0) + self.slow / 2.0
        signals, bars = 0.0, 0.0
        for home in homes:
            other = "gap" if home == "momentum" else "momentum"
            shares = {home: 1.0 - self.decoys, other: self.decoys}
            complete = {"gap": GOES_ON * TURNS * (1.0 - _SKIPS), "momentum": _BURST_STRONG}
            signals += shares[home] * complete[home] / len(homes)
            bars += sum(shares[each] * (_BARS[each] + wait) for each in shares) / len(homes)
        # two quiet bars are there in any case; half a bar is lost by rounding down
        quiet = SESSION_BARS * signals / self.signals - bars - 1.5
        return SlotTerms(
            home=self.family,
            decoys=self.decoys,
            skips=_SKIPS,
            quiet=max(1.0, quiet),
            pays=0.5 + self.edge / (2.0 * PAID),
            drift=self.drift,
            excursion=self.excursion > 0.0,
            slow=self.slow,
            session_bars=SESSION_BARS if self.session_gap else 0,
        )


def drawn_parameters(seed: int) -> MarketParameters:
    """Return the parameters of market ``drawn-SEED``: no one has chosen them.

    Costs are at most half of the edge; a market of rare signals with a thin edge is among them.
    """
    draw = np.random.default_rng([seed, 1_611])
    return MarketParameters(
        family=str(draw.choice(["gap", "momentum", "regime"])),
        edge=round(float(30.0 * 10.0 ** draw.random()), 1),
        cost_share=round(float(0.05 * 10.0 ** draw.random()), 3),
        signals=round(float(draw.uniform(2.0, _MAX_SIGNALS)), 1),
        decoys=round(float(draw.uniform(0.05, 0.4)), 2),
        tails=float(draw.choice([0.0, 3.0, 4.0, 6.0])),
        drift=round(float(draw.uniform(0.0, 0.6)), 2),
        session_gap=round(float(draw.choice([0.0, 1.0]) * draw.uniform(0.5, 2.0)), 2),
    )


TIMING_PARAMETERS: Final = MarketParameters(
    family="momentum", edge=250.0, cost_share=0.05, signals=5.0, decoys=0.4, excursion=2.6
)
"""Who enters at a signal is stopped out; who waits until the price has gone against it earns."""

UNTUNED: Final = (TIMING, *(f"{DRAWN}-{seed}" for seed in range(1, 9)))
"""Markets that no setting was ever chosen on."""


def parameters_named(name: str) -> MarketParameters | None:
    """Return the parameters of ``timing`` or of ``drawn-SEED``; None for any other name."""
    if name == TIMING:
        return TIMING_PARAMETERS
    kind, dash, seed = name.partition("-")
    if kind == DRAWN and dash and seed.isdecimal():
        return drawn_parameters(int(seed))
    return None

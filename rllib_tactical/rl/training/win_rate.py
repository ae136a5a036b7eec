"""Choose the execution threshold on validation bars for a wanted share of profitable trades.

Choosing the luckiest of many thresholds promises too much, so a win rate counts less one standard
error, and only with enough trades. Where no threshold reaches the target none is changed: the rate
that looks best among those that fall short is mostly luck.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, NamedTuple

from rllib_tactical.domain.decision.pipeline import Rules

ENOUGH_TRADES: Final = 20
"""A win rate of fewer validation trades meets no target."""

THRESHOLDS: Final = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Execution thresholds that are tried where they are above that of the rules."""

Choice = tuple[float, float]
"""A temperature scale and an execution threshold."""


class Total(NamedTuple):
    """Net P&L in dollars, trades and profitable trades of one choice, over all instruments."""

    net_pnl: float
    trades: int
    wins: int

    @property
    def win_rate(self) -> float | None:
        """Share of profitable trades; None without a trade."""
        return self.wins / self.trades if self.trades else None

    @property
    def sure_win_rate(self) -> float:
        """The win rate less its standard error; 0 with too few trades."""
        if self.trades < ENOUGH_TRADES:
            return 0.0
        rate = self.wins / self.trades
        return rate - sqrt(rate * (1.0 - rate) / self.trades)


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRateTarget:
    """What the choice of a threshold came to, and what it costs.

    ``wanted`` win rate; ``threshold``: the chosen one, None where none reaches the target and the
    rules' own stays. ``win_rate``, ``trades`` and ``net_pnl`` on validation bars with the choice,
    and ``before`` without it.
    """

    wanted: float
    threshold: float | None
    win_rate: float | None
    trades: int
    net_pnl: float
    win_rate_before: float | None
    trades_before: int
    net_pnl_before: float

    def text(self) -> str:
        """Return in words what was chosen and what it costs."""
        before = f"{_rate(self.win_rate_before)} of {self.trades_before:,} trades"
        if self.threshold is None:
            return (
                f"no execution threshold has {self.wanted:.0%} profitable trades on validation "
                f"bars (less one standard error, with {ENOUGH_TRADES} trades or more): {before} "
                "were, and the threshold stays as it is"
            )
        return (
            f"execution threshold {self.threshold:g} for {self.wanted:.0%} profitable trades: "
            f"{_rate(self.win_rate)} of {self.trades:,} trades on validation bars, "
            f"${self.net_pnl:,.0f}, instead of {before}, ${self.net_pnl_before:,.0f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None) -> WinRateTarget | None:
        """Return what ``as_dict`` gave, None for None."""
        return None if values is None else cls(**values)


def choices_of(scales: tuple[float, ...], rules: Rules, target: float | None) -> list[Choice]:
    """Return what is tried: each scale by the rules' own threshold, then by each higher one."""
    own = rules.aggregation.execution_threshold
    plain = [(scale, own) for scale in scales]
    if target is None:
        return plain
    higher = [threshold for threshold in THRESHOLDS if threshold > own]
    return plain + [(scale, threshold) for threshold in higher for scale in scales]


def choose(
    target: float, choices: Sequence[Choice], totals: Sequence[Total], plain: int
) -> tuple[int, WinRateTarget]:
    """Return the choice that earns most among those that reach the target, and what it costs.

    Args:
        target: share of profitable trades.
        choices: what was tried.
        totals: what came of each.
        plain: the choice that is made without a target; kept where none reaches it.
    """
    reach = [k for k, total in enumerate(totals) if total.sure_win_rate >= target]
    best = max(reach, key=lambda k: totals[k].net_pnl, default=plain)
    now, before = totals[best], totals[plain]
    return best, WinRateTarget(
        wanted=target,
        threshold=choices[best][1] if reach else None,
        win_rate=now.win_rate,
        trades=now.trades,
        net_pnl=now.net_pnl,
        win_rate_before=before.win_rate,
        trades_before=before.trades,
        net_pnl_before=before.net_pnl,
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"

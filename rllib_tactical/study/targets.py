"""What the agents should reach on each synthetic market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rllib_tactical.backtest.targets import OVER_TRADING
from rllib_tactical.bench.measurement import Row, mean_over_seeds, standard_error
from rllib_tactical.study.run import WIN_RATE
from rllib_tactical.study.score import NOISE, final_score, unit_of, with_error

TARGETS: Final = {"gap": 95.0, "momentum": 95.0, "regime": 88.0}
"""Percent of the oracle's net P&L by market; noise has other targets."""

SECONDS: Final = 90.0
"""Processor time of training on one core."""

NOISE_TRADES: Final = 1.0
"""Most trades a session on noise."""

ERRORS: Final = 2.0
"""Number of standard errors by which a loss on noise may exceed the costs."""


@dataclass(frozen=True, slots=True)
class Target:
    """A quantity over the seeds and its bound. ``name`` empty: the score itself."""

    name: str
    unit: str
    values: list[float]
    bound: float
    higher_is_better: bool = True

    def row(self, name: str) -> Row:
        """Return the bench table's row."""
        return Row(
            name=f"{name}, {self.name}" if self.name else name,
            unit=seeds_unit(self.unit, len(self.values)),
            measurement=mean_over_seeds(self.values),
            target=self.bound,
            higher_is_better=self.higher_is_better,
        )

    def text(self) -> str:
        """Return the quantity, its bound and the verdict."""
        row = self.row("")
        side = "≥" if self.higher_is_better else "≤"
        shown = f"{self.name} {with_error(self.values)}" if self.name else ""
        return f"{shown} {side} {self.bound:,.1f} {'met' if row.met else 'missed'}".strip()


def targets_of(results: list[dict[str, Any]]) -> tuple[Target, ...]:
    """Return the targets of one market's results; empty for a market without targets.

    Besides its share of the oracle's P&L a market has bounds for trades, as a multiple of the
    oracle's, for the win rate and for the processor time of training.

    On noise there is nothing to earn, so the loss must not exceed the costs: the mean of net P&L
    plus costs must be at most two standard errors below zero. (Errors are over the seeds, or over
    the sessions of a single seed.) And there must be few trades.
    """
    market = results[0]["market"]
    if market == NOISE:
        return _noise(results)
    if market not in TARGETS:
        return ()
    best = [found["best"] for found in results]
    scores = [final_score(found) for found in results]
    trades = [each["policy"]["trades"] / each["oracle"]["trades"] for each in best]
    rates = [100.0 * (each["policy"]["win_rate"] or 0.0) for each in best]
    seconds = [found["processor_s"] for found in results]
    return (
        Target("", unit_of(market), scores, TARGETS[market]),
        Target("trades", "times the oracle's", trades, OVER_TRADING, higher_is_better=False),
        Target("win rate", "%", rates, 100.0 * WIN_RATE),
        Target("training", "CPU s", seconds, SECONDS, higher_is_better=False),
    )


def _noise(results: list[dict[str, Any]]) -> tuple[Target, ...]:
    policies = [found["best"]["policy"] for found in results]
    gross = [policy["net"] + policy["costs"] for policy in policies]
    error = standard_error(gross) if len(gross) > 1 else policies[0]["error"]
    trades = [policy["trades"] for policy in policies]
    return (
        Target("net + costs", unit_of(NOISE), gross, -ERRORS * error),
        Target("trades", "per session", trades, NOISE_TRADES, higher_is_better=False),
    )


def seeds_unit(unit: str, count: int) -> str:
    """Return the unit of a mean over seeds."""
    return f"{unit}, mean ± s.e. of {count} seed{'s' if count > 1 else ''}"

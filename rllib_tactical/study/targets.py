"""What the agents should reach on each synthetic market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.bench.measurement import Row, mean_over_seeds, standard_error
from rllib_tactical.study.experiments import SESSION_BARS
from rllib_tactical.study.score import NOISE, final_score, unit_of, with_error

TARGETS: Final = {"gap": 80.0, "momentum": 80.0, "regime": 60.0}
"""Percent of the oracle's net P&L by market; noise has other targets."""

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

    On noise there is nothing to earn, so the loss must not exceed the costs: the mean of net P&L
    plus costs must be at most two standard errors below zero. (Errors are over the seeds, or over
    the sessions of a single seed.) And the last iterations must sample fewer trades than the first.
    """
    market = results[0]["market"]
    if market == NOISE:
        return _noise(results)
    if market not in TARGETS:
        return ()
    scores = [final_score(found) for found in results]
    return (Target("", unit_of(market), scores, TARGETS[market]),)


def _noise(results: list[dict[str, Any]]) -> tuple[Target, ...]:
    policies = [found["curve"][-1]["policy"] for found in results]
    gross = [policy["net"] + policy["costs"] for policy in policies]
    error = standard_error(gross) if len(gross) > 1 else policies[0]["error"]
    first, last = (
        [SESSION_BARS * found["sampled_trades_per_bar"][key] for found in results]
        for key in ("first", "last")
    )
    return (
        Target("net + costs", unit_of(NOISE), gross, -ERRORS * error),
        Target("sampled trades at the end", "per session", last, float(np.mean(first)), False),
    )


def seeds_unit(unit: str, count: int) -> str:
    """Return the unit of a mean over seeds."""
    return f"{unit}, mean ± s.e. of {count} seed{'s' if count > 1 else ''}"

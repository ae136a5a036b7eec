"""Put the statistics together and say in words what they amount to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import DataError
from rllib_tactical.statistics.bootstrap import (
    RESAMPLES,
    Interval,
    block_length,
    percentile_intervals,
    resample,
)
from rllib_tactical.statistics.overfitting import overfitting_probability
from rllib_tactical.statistics.sharpe import (
    DAYS_PER_YEAR,
    deflated_sharpe,
    plain_sharpe,
    probabilistic_sharpe,
)
from rllib_tactical.statistics.superiority import superiority_p_value
from rllib_tactical.statistics.trials import Trials

FEW_TRADES: Final = 30
FEW_DAYS: Final = 20
"""Below these a result says nothing, whatever its sign."""

SIGNIFICANCE: Final = 0.05
SMALLEST_P: Final = 0.001
"""Below this a p-value is shown as smaller than it: resamples and their normal limit end here."""

Outcome = Literal["nothing", "no_edge", "not_distinguishable", "edge"]


@dataclass(frozen=True, slots=True)
class Series:
    """One policy's days: ``pnl`` (D,) in dollars and ``returns`` (D,) on the day's opening equity.

    ``rival``: the policy has to be beaten for an edge to be called one. Staying out is no rival
    (being above zero says the same) and neither is an oracle. ``days_per_year`` annualizes ratios.
    """

    name: str
    label: str
    pnl: FloatArray
    returns: FloatArray
    rival: bool = False
    days_per_year: int = DAYS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy against one other on the same days.

    ``pnl``: difference of the mean daily P&L, dollars; ``sharpe``: difference of the annualized
    ratios, where one without variation counts 0; ``p_value`` of "the policy, or the best of its
    trials, does not earn more than the other", None where they never differ.
    """

    name: str
    label: str
    rival: bool
    pnl: Interval
    sharpe: Interval
    p_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "label": self.label,
            "pnl": self.pnl.to_dict(),
            "sharpe": self.sharpe.to_dict(),
            "p_value": self.p_value,
        }


@dataclass(frozen=True, slots=True)
class Significance:
    """What is known about a policy from D days, with 95% intervals.

    ``pnl`` per day and ``total`` in dollars; ``sharpe`` annualized, None without variation;
    ``probabilistic_sharpe``: probability that the true ratio is above zero; ``trials``: how many
    the policy was chosen from, None when unknown; ``deflated_sharpe``: the probability that the
    policy beats what the best of as many trials gets by chance; ``overfitting``: probability that
    choosing among the trials chooses by luck; ``beaten_p_value`` of "no rival earns more".
    """

    days: int
    trades: int
    block_days: float
    pnl: Interval
    total: Interval
    sharpe: Interval | None
    comparisons: tuple[Comparison, ...]
    probabilistic_sharpe: float | None
    trials: int | None
    deflated_sharpe: float | None
    overfitting: float | None
    beaten_p_value: float | None

    @property
    def p_value(self) -> float | None:
        """1 - deflated Sharpe ratio; not deflated while the trials are unknown."""
        return None if self.deflated_sharpe is None else 1.0 - self.deflated_sharpe

    @property
    def equals(self) -> tuple[Comparison, ...]:
        """Rivals from which the policy's P&L cannot be told apart upwards."""
        return tuple(c for c in self.comparisons if c.rival and not c.pnl.above_zero)

    @property
    def outcome(self) -> Outcome:
        """The verdict as one word."""
        if self.trades == 0:
            return "nothing"
        few = self.trades < FEW_TRADES or self.days < FEW_DAYS
        unsure = self.p_value is None or self.p_value > SIGNIFICANCE
        if few or unsure or not self.pnl.above_zero:
            return "no_edge"
        return "not_distinguishable" if self.equals else "edge"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {
            "outcome": self.outcome,
            "words": in_words(self),
            "days": self.days,
            "block_days": self.block_days,
            "resamples": RESAMPLES,
            "daily_pnl": self.pnl.to_dict(),
            "total_pnl": self.total.to_dict(),
            "sharpe": self.sharpe.to_dict() if self.sharpe else None,
            "probabilistic_sharpe": self.probabilistic_sharpe,
            "trials": self.trials,
            "deflated_sharpe": self.deflated_sharpe,
            "deflated_p": self.p_value,
            "overfitting_probability": self.overfitting,
            "some_rival_is_better_p": self.beaten_p_value,
            "against": {c.name: c.to_dict() for c in self.comparisons},
        }


def judge(
    policy: Series,
    others: Sequence[Series],
    trades: int,
    trials: Trials | None = None,
    seed: int = 0,
) -> Significance:
    """Judge a policy by its days, beside others on the same days.

    Args:
        policy: what is judged.
        others: what it is compared with.
        trades: how many it made.
        trials: what it was chosen from; None when unknown. Those on the same days, as many rows as
            the policy has, also take part in the comparisons, so that picking the best of them
            is allowed for.
        seed: of the resampling.

    Raises:
        ArrayError: P&L or returns of another rank, shape or dtype.
        DataError: fewer than two days, or series of different lengths.
    """
    for series in (policy, *others):
        require_shape(series.pnl, ("D",), np.float64, f"P&L of {series.name}")
        require_shape(series.returns, series.pnl.shape, np.float64, f"returns of {series.name}")
    days = len(policy.pnl)
    every = (policy, *others)
    if days < 2 or any(len(series.pnl) != days for series in every):
        raise DataError(
            f"statistics need at least 2 days, the same for all policies, found "
            f"{sorted({len(series.pnl) for series in every})}"
        )
    pnl = np.column_stack([series.pnl for series in every])
    returns = np.column_stack([series.returns for series in every])
    block = block_length(np.column_stack([pnl[:, :1], pnl[:, :1] - pnl[:, 1:]]))
    both = np.concatenate([pnl, returns], axis=1)
    statistics = partial(_statistics, days_per_year=policy.days_per_year)
    drawn = resample(both, statistics, block, seed)
    count = len(every)
    found = percentile_intervals(statistics(both), drawn)
    mean, own = found[0], found[2 * count - 1]
    candidates = policy.pnl[:, None]
    if trials is not None and len(trials.pnl) == days:
        candidates = np.column_stack([candidates, trials.pnl])
    comparisons = tuple(
        Comparison(
            name=other.name,
            label=other.label,
            rival=other.rival,
            pnl=found[count + row],
            sharpe=found[2 * count + row],
            p_value=superiority_p_value(other.pnl, candidates, block, seed),
        )
        for row, other in enumerate(others)
    )
    rivals = [series.pnl for series in others if series.rival]
    beaten = None
    if rivals:
        beaten = superiority_p_value(policy.pnl, np.column_stack(rivals), block, seed)
    sharpes = trials.sharpes if trials is not None else np.zeros(1)
    return Significance(
        days=days,
        trades=trades,
        block_days=block,
        pnl=mean,
        total=Interval(*(days * value for value in (mean.estimate, mean.low, mean.high))),
        sharpe=own if plain_sharpe(policy.returns) is not None else None,
        comparisons=comparisons,
        probabilistic_sharpe=probabilistic_sharpe(policy.returns),
        trials=len(trials.names) if trials is not None else None,
        deflated_sharpe=deflated_sharpe(policy.returns, sharpes),
        overfitting=_overfitting(trials),
        beaten_p_value=beaten,
    )


def in_words(significance: Significance) -> str:
    """Return the verdict as a sentence."""
    j = significance
    if j.outcome == "nothing":
        return "No trade was made: there is nothing to judge."
    earned = f"{money(j.pnl.estimate)} a day, {_interval(j.pnl)}"
    deflated = _deflated(j)
    if j.outcome == "no_edge":
        if j.trades < FEW_TRADES:
            why = f"fewer than {FEW_TRADES} trades, chance alone explains them"
        elif j.days < FEW_DAYS:
            why = f"fewer than {FEW_DAYS} days"
        elif not j.pnl.above_zero:
            return f"No evidence of an edge: {earned}."
        else:
            why = deflated
        return f"No evidence of an edge: {earned}; {why}."
    if j.outcome == "not_distinguishable":
        names = ", ".join(
            f"{c.label} ({money(c.pnl.estimate)} a day more, {_interval(c.pnl)})" for c in j.equals
        )
        return f"Edge not distinguishable from {names}; {deflated}."
    return f"Edge of {money(j.pnl.estimate)} +/- {money(j.pnl.half_width)} a day, {deflated}."


def p_text(p: float | None) -> str:
    """Return a p-value with its sign, ``= 0.012``; resampling never shows that one is 0."""
    if p is None:
        return "is undefined"
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"= {p:.3f}"


def money(value: float) -> str:
    """Return dollars without cents from 100 on."""
    text = f"${abs(value):,.{0 if abs(value) >= 100 else 2}f}"
    return f"-{text}" if value < 0 else text


def _interval(interval: Interval) -> str:
    return f"95% interval {money(interval.low)} to {money(interval.high)}"


def _deflated(j: Significance) -> str:
    if j.p_value is None:
        return "p is undefined"
    if j.trials is None:
        return f"p {p_text(j.p_value)}, not deflated because the trials behind it are unknown"
    return f"deflated p {p_text(j.p_value)} over {j.trials} trial{'s' if j.trials != 1 else ''}"


def _statistics(both: FloatArray, days_per_year: int) -> FloatArray:
    """Return mean P&L (n), its differences (n - 1), Sharpe ratios (1) and differences (n - 1).

    ``both`` is (D, 2n): P&L of n policies, then returns. Ratios are annualized, 0 without
    variation.
    """
    count = both.shape[1] // 2
    mean = both[:, :count].mean(axis=0)
    returns = both[:, count:]
    deviation = returns.std(axis=0, ddof=1)
    flat = deviation <= 1e-12 * np.abs(returns).max(axis=0)
    sharpe = np.where(flat, 0.0, returns.mean(axis=0) / np.where(flat, 1.0, deviation))
    sharpe = sharpe * math.sqrt(days_per_year)
    return np.concatenate([mean, mean[0] - mean[1:], sharpe[:1], sharpe[0] - sharpe[1:]])


def _overfitting(trials: Trials | None) -> float | None:
    # trials that all did the same, such as nothing, cannot be ranked
    if trials is None or len(trials.names) < 2 or not np.any(np.ptp(trials.pnl, axis=1)):
        return None
    try:
        return overfitting_probability(trials.pnl).probability
    except DataError:
        return None

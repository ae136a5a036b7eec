"""The gate: a challenger against the champion on recent bars that neither was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.backtest.metrics import daily_pnl, max_drawdown
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import DataError, UsageError, require
from rllib_tactical.statistics.bootstrap import block_length, resample

DRAWDOWN_SLACK: Final = 0.005
"""Share of equity by which the challenger's drawdown may be larger before the gate refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What a challenger has to show.

    ``confidence``: that it earns more a day than the champion; ``days`` and ``trades``: least
    number of them on the gate's bars.
    """

    confidence: float = 0.95
    days: int = 10
    trades: int = 30

    def __post_init__(self) -> None:
        require(
            0.5 < self.confidence < 1.0,
            "confidence must be in (0.5, 1)",
            self.confidence,
            UsageError,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What came out of the gate.

    ``champion_pnl`` and ``challenger_pnl``: mean daily P&L in dollars; ``low``: what the
    challenger earns more a day at least, with the stated confidence; drawdowns are shares.
    ``refusals``: why it may not be promoted, empty when it may.
    """

    days: int
    trades: int
    champion_pnl: float
    challenger_pnl: float
    low: float
    confidence: float
    champion_drawdown: float
    challenger_drawdown: float
    refusals: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may be promoted."""
        return not self.refusals

    @property
    def words(self) -> str:
        """What came out, as a sentence."""
        more = self.challenger_pnl - self.champion_pnl
        figures = (
            f"${self.challenger_pnl:,.2f} a day instead of ${self.champion_pnl:,.2f}, "
            f"${more:,.2f} more, at least ${self.low:,.2f} at {self.confidence:.0%}"
        )
        return f"passed: {figures}" if self.passed else f"refused, {'; '.join(self.refusals)}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "refusals": list(self.refusals), "passed": self.passed}


def gate(
    champion: Bundle,
    challenger: Bundle,
    history: MarketHistory,
    start: int,
    stop: int,
    rules: GateRules | None = None,
    seed: int = 0,
) -> GateResult:
    """Trade the bars start <= t < stop with both bundles and compare their days.

    Args:
        champion: what decides now.
        challenger: what may take its place.
        history: the market.
        start: first decision bar; an embargo after the last bar of training.
        stop: one past the last bar.
        rules: what has to be shown; the defaults when None.
        seed: of the bootstrap.

    Raises:
        DataError: the range does not fit the history, or has fewer than two days.
        BundleError: actors return values that are not finite.
    """
    results = []
    for bundle in (champion, challenger):
        votes = bundle_votes(bundle, history, np.arange(start, stop))
        results.append(run_backtest(history, votes, bundle.rules, start, stop))
    return compare_days(results[0], results[1], rules or GateRules(), seed)


def compare_days(
    champion: BacktestResult, challenger: BacktestResult, rules: GateRules, seed: int = 0
) -> GateResult:
    """Return what the gate makes of two backtests over the same bars; see ``gate``."""
    ours, theirs = (
        daily_pnl(result)["pnl"].to_numpy(np.float64) for result in (challenger, champion)
    )
    if len(ours) < 2:
        raise DataError(f"a gate needs at least 2 days, found {len(ours)}")
    low = lower_bound(ours - theirs, rules.confidence, seed)
    drawdowns = [
        max_drawdown(result.equity["equity"].to_numpy()) for result in (champion, challenger)
    ]
    refusals = []
    trades = len(challenger.trades)
    if len(ours) < rules.days:
        refusals.append(f"days must be at least {rules.days}, found {len(ours)}")
    if trades < rules.trades:
        refusals.append(f"trades must be at least {rules.trades}, found {trades}")
    if low <= 0.0:
        refusals.append(
            f"it must earn more than the champion at {rules.confidence:.0%}, found "
            f"${ours.mean() - theirs.mean():,.2f} a day more, at least ${low:,.2f}"
        )
    if ours.mean() <= 0.0:
        refusals.append(f"it must earn something, found ${ours.mean():,.2f} a day")
    if drawdowns[1] > drawdowns[0] + DRAWDOWN_SLACK:
        refusals.append(
            f"its drawdown must not exceed the champion's {drawdowns[0]:.2%} by more than "
            f"{DRAWDOWN_SLACK:.1%}, found {drawdowns[1]:.2%}"
        )
    return GateResult(
        days=len(ours),
        trades=trades,
        champion_pnl=float(theirs.mean()),
        challenger_pnl=float(ours.mean()),
        low=low,
        confidence=rules.confidence,
        champion_drawdown=float(drawdowns[0]),
        challenger_drawdown=float(drawdowns[1]),
        refusals=tuple(refusals),
    )


def lower_bound(differences: FloatArray, confidence: float, seed: int) -> float:
    """Return the lower confidence bound of the mean of daily differences (D,)."""
    column = np.ascontiguousarray(differences[:, None])
    if not np.ptp(column):
        return float(column.mean())
    drawn = resample(column, lambda days: days.mean(axis=0), block_length(column), seed)
    return float(np.quantile(drawn, 1.0 - confidence))

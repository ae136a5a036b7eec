"""The targets of the specification and how a backtest stands against them.

Only what a backtest can measure is listed. Latency, uptime and recovery belong to the service, and
market impact to an execution model that knows order books.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from rllib_tactical.backtest.metrics import Metrics
from rllib_tactical.config.service import AccuracyTargets
from rllib_tactical.domain.types import AGENTS

Status = Literal["met", "missed", "critical", "undefined"]


@dataclass(frozen=True, slots=True)
class Target:
    """A metric's target and critical value; larger is better when target > critical.

    ``metric``: name of the measured metric, empty where it is that of the target.
    """

    name: str
    label: str
    target: float
    critical: float
    unit: Literal["share", "dollars", "number"] = "number"
    metric: str = ""

    @property
    def measured(self) -> str:
        """Name of the measured metric."""
        return self.metric or self.name

    def status(self, value: float | None) -> Status:
        """Return ``met`` at or beyond the target, ``critical`` at or beyond the critical value."""
        if value is None:
            return "undefined"
        sign = 1.0 if self.target > self.critical else -1.0
        if sign * value >= sign * self.target:
            return "met"
        return "critical" if sign * value <= sign * self.critical else "missed"


TARGETS: Final = (
    Target("accuracy_fvg", "Accuracy of the FVG agent", 0.60, 0.45, "share"),
    Target("accuracy_momentum", "Accuracy of the momentum agent", 0.60, 0.45, "share"),
    Target("accuracy_entry", "Accuracy of the entry agent", 0.60, 0.45, "share"),
    Target("accuracy_ensemble", "Accuracy of the ensemble", 0.70, 0.55, "share"),
    Target("win_rate", "Win rate", 0.55, 0.45, "share"),
    Target("headline_win_rate", "Profitable trades (headline)", 0.75, 0.45, "share", "win_rate"),
    Target("daily_pnl_mean", "Mean daily P&L", 100.0, -50.0, "dollars"),
    Target("sharpe", "Sharpe ratio (daily, annualized)", 1.5, 0.8),
    Target("max_drawdown", "Maximum drawdown", 0.02, 0.05, "share"),
    Target("sizing_accuracy", "Sizing accuracy", 0.90, 0.75, "share"),
    Target("stop_adherence", "Stop adherence", 0.95, 0.85, "share"),
    Target("leverage_violations", "Leverage violations", 0.0, 5.0),
    Target("trades_per_day", "Trades per day", 12.0, 6.0),
    Target("slippage", "Mean slippage, share of price", 0.0002, 0.001),
)


def targets_with(accuracy: AccuracyTargets) -> tuple[Target, ...]:
    """Return the targets with a configuration's accuracies; critical values keep their share."""
    own = {f"accuracy_{agent}": accuracy.agent_accuracy for agent in AGENTS} | {
        "accuracy_ensemble": accuracy.ensemble_accuracy,
        "win_rate": accuracy.trade_win_rate,
    }
    return tuple(
        replace(
            each,
            target=own[each.name],
            critical=each.critical * (own[each.name] / each.target),
        )
        if each.name in own
        else each
        for each in TARGETS
    )


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One line of the table: a metric beside its target. ``reason`` explains a missing value."""

    name: str
    label: str
    value: float | None
    target: float
    critical: float
    unit: str
    status: Status
    reason: str | None


OVER_TRADING: Final = 1.5
"""A policy that makes this many times the trades of the market's oracle trades too much."""


def target_table(
    metrics: Metrics, targets: tuple[Target, ...] = TARGETS, times_oracle: float | None = None
) -> list[TargetRow]:
    """Return the table of targets in the order of the specification.

    ``times_oracle``: how many times as often as the market's oracle the policy trades, None where
    it is not known. The target of trades per day asks for that many good ones: over-trading misses
    it however many they are.
    """
    rows = []
    for target in targets:
        value = metrics.number(target.measured)
        status, reason = target.status(value), metrics.reasons.get(target.measured)
        if target.name == "trades_per_day" and (times_oracle or 0.0) > OVER_TRADING:
            status = "missed" if status == "met" else status
            reason = (
                f"{times_oracle:.1f} times the trades of the oracle, more than {OVER_TRADING:g} is "
                "over-trading"
            )
        rows.append(
            TargetRow(
                name=target.name,
                label=target.label,
                value=value,
                target=target.target,
                critical=target.critical,
                unit=target.unit,
                status=status,
                reason=reason,
            )
        )
    return rows


def plain_table(
    metrics: Metrics, targets: tuple[Target, ...] = TARGETS, times_oracle: float | None = None
) -> list[dict[str, Any]]:
    """Return the table of targets as plain dictionaries; arguments as of ``target_table``."""
    return [asdict(row) for row in target_table(metrics, targets, times_oracle)]

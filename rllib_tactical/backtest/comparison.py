"""One call from a bundle and a market to metrics beside those of the baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest import policies as baselines
from rllib_tactical.backtest.brackets import vote_outcomes
from rllib_tactical.backtest.engine import Progress, bundle_votes, hold_votes, run_backtest
from rllib_tactical.backtest.metrics import (
    TABLE_METRICS,
    Metrics,
    annual_days,
    compute_metrics,
    daily_pnl,
)
from rllib_tactical.backtest.passive import passive_result
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.shapley import AgentValues
from rllib_tactical.backtest.targets import (
    OVER_TRADING,
    TARGETS,
    Target,
    plain_table,
    targets_with,
)
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import recorded_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.service import AccuracyTargets
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.data.calendar.schedules import ALWAYS_OPEN
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import BoolArray
from rllib_tactical.errors import ConfigError
from rllib_tactical.statistics.calibration import Calibration, profit_calibration
from rllib_tactical.statistics.significance import Series, Significance, judge
from rllib_tactical.statistics.trials import Trials

Stage = Callable[[str], None]
"""Called with the name of a piece of work before it begins."""

RIVALS: Final = ("buy_and_hold", "buy_and_hold_days", "always_long", "random", "rule_based")
"""Baselines that a policy has to beat before its P&L is called an edge of its own."""

PASSIVE: Final = {"buy_and_hold": True, "buy_and_hold_days": False}
"""Baselines that do not vote, and whether they hold overnight."""

ORACLE: Final = "oracle"
"""Name of the run of a synthetic market's oracle."""


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's backtest: name, label, what it did and its metrics."""

    name: str
    label: str
    result: BacktestResult
    metrics: Metrics

    def days(self) -> Series:
        """Return the run's days for the statistics."""
        daily = daily_pnl(self.result)
        pnl = daily["pnl"].to_numpy()
        returns = daily["return"].to_numpy()
        rival, year = self.name in RIVALS, annual_days((self.result,))
        return Series(self.name, self.label, pnl, returns, rival, year)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy beside its baselines on the same bars.

    ``training_rule_trades``: trades of the same votes when each counts with the constant
    confidence of training (``train_confidence``, None where nothing was trained) instead of its
    probability. ``significance``: how
    sure the result is; None when statistics were not asked for or there are too few days.
    ``confidence``: how well the confidence that was calibrated on validation bars foretells a
    profit here, see ``profit_calibration``; None without a calibration or a trade.
    ``agents``: what each agent contributes, None when it was not asked for.
    """

    policy: Run
    baselines: tuple[Run, ...]
    train_confidence: float | None
    training_rule_trades: int
    significance: Significance | None = None
    targets: tuple[Target, ...] = TARGETS
    agents: AgentValues | None = None
    confidence: dict[str, float] | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """The policy and then the baselines."""
        return (self.policy, *self.baselines)

    @property
    def full_rule_trades(self) -> int:
        """Trades by the serving rule with real confidences: what would have been traded."""
        return len(self.policy.result.trades)

    @property
    def trades_too_little(self) -> bool:
        """Whether the serving rule trades less than half as often as the training rule."""
        return 2 * self.full_rule_trades < self.training_rule_trades

    @property
    def times_oracle_trades(self) -> float | None:
        """How many times as often as the oracle the policy trades; None without an oracle."""
        for run in self.baselines:
            if run.name == ORACLE and len(run.result.trades):
                return self.full_rule_trades / len(run.result.trades)
        return None

    @property
    def trades_too_much(self) -> bool:
        """Whether the policy trades much more often than the market's oracle."""
        return (self.times_oracle_trades or 0.0) > OVER_TRADING

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain dictionary per policy for a short table, the policy first."""
        return [
            {"name": run.name, "label": run.label}
            | {name: run.metrics.number(name) for name in TABLE_METRICS}
            for run in self.runs
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for ``kpis.json`` and ``summary.json``."""
        times = self.policy.result.equity["timestamp"]
        times_oracle = self.times_oracle_trades
        metrics = self.policy.metrics.to_dict()
        return {
            "first_bar": times.iloc[0].isoformat(),
            "last_bar": times.iloc[-1].isoformat(),
            "bars": len(times),
            "kpis": metrics["values"],
            "undefined": metrics["undefined"],
            "targets": plain_table(self.policy.metrics, self.targets, times_oracle),
            "trade_counts": {
                "full_rule": self.full_rule_trades,
                "training_rule": self.training_rule_trades,
                "train_confidence": self.train_confidence,
                "full_rule_trades_too_little": self.trades_too_little,
                "times_oracle": times_oracle,
            },
            "statistics": self.significance.to_dict() if self.significance is not None else None,
            "confidence": self.confidence,
            "agents": self.agents.to_dict() if self.agents is not None else None,
            "baselines": {run.name: run.metrics.to_dict() for run in self.baselines},
        }


def compare_bundle(
    bundle: Bundle,
    history: MarketHistory,
    start: int,
    stop: int,
    *,
    mode: str = "greedy",
    seed: int = 0,
    with_baselines: bool = True,
    extra: dict[str, tuple[str, Votes]] | None = None,
    with_statistics: bool = True,
    trials: Trials | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> Comparison:
    """Backtest a bundle and the baselines over the bars start <= t < stop.

    Args:
        bundle: the policy with its rules; the instrument is the market history's.
        history: the market.
        start: first decision bar.
        stop: one past the last bar.
        mode: ``greedy`` or ``sample``.
        seed: of sampling and of the random baseline.
        with_baselines: whether to run them.
        extra: more policies by name, each with a label and votes, such as a market's oracle.
        with_statistics: whether to say how sure the result is.
        trials: what the bundle was chosen from, for the statistics; None when unknown.
        progress: told about bars that the networks have seen.
        stage: told about each piece of work.

    Raises:
        DataError: the range does not fit the market history.
        BundleError: the actors return values that are not finite.
    """
    if stage is not None:
        stage("networks")
    votes = bundle_votes(
        bundle, history, np.arange(start, stop), mode=mode, seed=seed, progress=progress
    )
    confidence = train_confidence_of(bundle)
    config = training_config_of(bundle)
    accuracy = AccuracyTargets() if config is None else config.performance.accuracy_targets
    compared = compare_votes(
        votes,
        history,
        bundle.rules,
        start,
        stop,
        label="Trained agents",
        train_confidence=confidence,
        seed=seed,
        with_baselines=with_baselines,
        extra=extra,
        with_statistics=with_statistics,
        trials=trials,
        targets=targets_with(accuracy),
        rewards=None if config is None else config.rewards,
        stage=stage,
    )
    trades = compared.policy.result.trades
    return dataclasses.replace(
        compared, confidence=profit_calibration(trades, calibration_of(bundle))
    )


def compare_votes(
    votes: Votes,
    history: MarketHistory,
    rules: Rules,
    start: int,
    stop: int,
    *,
    label: str = "Policy",
    train_confidence: float | None = TrainingConfig().train_confidence,
    seed: int = 0,
    with_baselines: bool = True,
    is_baseline: str | None = None,
    extra: dict[str, tuple[str, Votes]] | None = None,
    active: BoolArray | None = None,
    with_statistics: bool = True,
    trials: Trials | None = None,
    targets: tuple[Target, ...] = TARGETS,
    rewards: RewardConfig | None = None,
    stage: Stage | None = None,
) -> Comparison:
    """Backtest any votes and the baselines; arguments as of ``compare_bundle``.

    ``rewards`` are those of the policy's training, the defaults when None; the others as of
    ``compare_result``.
    """
    if stage is not None:
        stage(label.lower())
    return compare_result(
        run_backtest(history, votes, rules, start, stop, rewards),
        label=label,
        train_confidence=train_confidence,
        seed=seed,
        with_baselines=with_baselines,
        is_baseline=is_baseline,
        extra=extra,
        active=active,
        with_statistics=with_statistics,
        trials=trials,
        targets=targets,
        stage=stage,
    )


def compare_result(
    traded: BacktestResult,
    *,
    label: str = "Policy",
    train_confidence: float | None = TrainingConfig().train_confidence,
    seed: int = 0,
    with_baselines: bool = True,
    is_baseline: str | None = None,
    extra: dict[str, tuple[str, Votes]] | None = None,
    active: BoolArray | None = None,
    with_statistics: bool = True,
    trials: Trials | None = None,
    targets: tuple[Target, ...] = TARGETS,
    stage: Stage | None = None,
) -> Comparison:
    """Set what was traded, by a backtest or in a session, beside the baselines.

    ``train_confidence`` is None where nothing was trained. ``is_baseline`` names the baseline that
    the votes themselves are, which is not run once more. ``active`` (K,) names the bars on which
    the policy may vote, all when None; on the others the baselines stay out too. ``targets`` are
    those of the report. Other arguments as of ``compare_bundle``.
    """
    history, votes, rules = traded.history, traded.votes, traded.rules
    start, stop = traded.start, traded.stop

    def log(text: str) -> None:
        if stage is not None:
            stage(text)

    def run(name: str, text: str, its_votes: Votes) -> Run:
        log(text.lower())
        result = run_backtest(history, its_votes, rules, start, stop)
        return Run(name, text, result, compute_metrics(result))

    log("what each vote would have earned")
    outcomes = vote_outcomes(history, votes, rules, start, stop)
    traded = dataclasses.replace(traded, outcomes=outcomes)
    policy = Run("policy", label, traded, compute_metrics(traded))
    training_rule_trades = len(policy.result.trades)
    if train_confidence is not None:
        constant = constant_votes(votes.index, train_confidence)
        training_rule_trades = len(run_backtest(history, constant, rules, start, stop).trades)
    chosen: dict[str, tuple[str, Votes]] = {}
    if with_baselines:
        log("random baseline")
        made = {
            "no_trades": hold_votes(stop - start),
            "always_long": baselines.always_long(history, start, stop),
            "random": baselines.random_like(policy.result, seed, active),
            "rule_based": baselines.rule_based(history, start, stop),
        }
        labels = baselines.BASELINES
        chosen = {name: (labels[name], made[name]) for name in made if name != is_baseline}
    others = [
        run(name, text, _only_where(active, its_votes))
        for name, (text, its_votes) in (chosen | (extra or {})).items()
    ]
    if with_baselines:
        log("buy and hold")
        first = 0 if is_baseline == "no_trades" else 1  # after the one that does nothing
        others[first:first] = _passive_runs(history, rules, start, stop, active)
    significance = None
    series = [each.days() for each in (policy, *others)]
    if with_statistics and len(series[0].pnl) > 1:
        log("statistics")
        significance = judge(series[0], series[1:], len(policy.result.trades), trials, seed)
    return Comparison(
        policy, tuple(others), train_confidence, training_rule_trades, significance, targets
    )


def _passive_runs(
    history: MarketHistory, rules: Rules, start: int, stop: int, active: BoolArray | None
) -> list[Run]:
    """Return the accounts that buy and hold; where the market never closes there are no nights."""
    names = dict(PASSIVE)
    if history.instrument.calendar == ALWAYS_OPEN:
        del names["buy_and_hold_days"]
    runs = []
    for name, overnight in names.items():
        result = passive_result(history, rules, start, stop, overnight=overnight, active=active)
        runs.append(Run(name, baselines.BASELINES[name], result, compute_metrics(result)))
    return runs


def _only_where(active: BoolArray | None, votes: Votes) -> Votes:
    """Return votes that stay out where ``active`` (K,) is false."""
    if active is None:
        return votes
    out, where = hold_votes(len(active)), active[:, None]
    return Votes(
        np.where(where, votes.index, out.index), np.where(where, votes.confidence, out.confidence)
    )


def training_config_of(bundle: Bundle) -> TacticalConfig | None:
    """Return the configuration that the bundle was trained with, None where it is not known."""
    try:
        return recorded_config(bundle.manifest["training"].get("config") or {}, "bundle")
    except ConfigError:  # of another version of the program
        return None


def calibration_of(bundle: Bundle) -> Calibration:
    """Return the calibration of the bundle's confidence on its validation bars, empty without."""
    validation = bundle.manifest["metrics"].get("validation") or {}
    return tuple((float(score), float(p)) for score, p in validation.get("calibration") or ())


def train_confidence_of(bundle: Bundle) -> float:
    """Return the confidence with which votes counted in the bundle's training, if it says so."""
    value: Any = bundle.manifest["training"]
    for key in ("config", "training", "train_confidence"):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, int | float) and 0.0 < value <= 1.0:
        return float(value)
    return TrainingConfig().train_confidence

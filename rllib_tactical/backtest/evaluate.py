"""One call from a bundle and a market to figures beside those of the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest import baselines
from rllib_tactical.backtest.engine import Progress, bundle_votes, run_backtest
from rllib_tactical.backtest.metrics import Metrics, compute_metrics
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.targets import plain_table
from rllib_tactical.bundle import Bundle
from rllib_tactical.config import TrainingConfig
from rllib_tactical.domain.pipeline import Rules
from rllib_tactical.domain.tape import Tape
from rllib_tactical.domain.votes import Votes, constant_votes

Stage = Callable[[str], None]
"""Called with the name of a piece of work before it begins."""

TABLE_FIGURES: Final = (
    "net_pnl",
    "trades",
    "trades_per_day",
    "win_rate",
    "profit_factor",
    "sharpe",
    "max_drawdown",
    "costs",
)
"""Figures of the short table that compares policies."""


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's backtest: name, label, what it did and its figures."""

    name: str
    label: str
    result: BacktestResult
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A policy beside its baselines on the same bars.

    ``training_rule_trades``: trades of the same votes when each counts with the constant
    confidence of training (``train_confidence``) instead of its probability.
    """

    policy: Run
    baselines: tuple[Run, ...]
    train_confidence: float
    training_rule_trades: int

    @property
    def runs(self) -> tuple[Run, ...]:
        """The policy and then the baselines."""
        return (self.policy, *self.baselines)

    @property
    def full_rule_trades(self) -> int:
        """Trades by the full rule with real confidences: what would have been traded."""
        return len(self.policy.result.trades)

    @property
    def trades_too_little(self) -> bool:
        """Whether the full rule trades less than half as often as the training rule."""
        return 2 * self.full_rule_trades < self.training_rule_trades

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain dictionary per policy for a short table, the policy first."""
        return [
            {"name": run.name, "label": run.label}
            | {name: run.metrics.number(name) for name in TABLE_FIGURES}
            for run in self.runs
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for ``kpis.json`` and ``summary.json``."""
        times = self.policy.result.equity["timestamp"]
        return {
            "first_bar": times.iloc[0].isoformat(),
            "last_bar": times.iloc[-1].isoformat(),
            "bars": len(times),
            "kpis": self.policy.metrics.to_dict()["values"],
            "undefined": self.policy.metrics.to_dict()["undefined"],
            "targets": plain_table(self.policy.metrics),
            "trade_counts": {
                "full_rule": self.full_rule_trades,
                "training_rule": self.training_rule_trades,
                "train_confidence": self.train_confidence,
                "full_rule_trades_too_little": self.trades_too_little,
            },
            "baselines": {run.name: run.metrics.to_dict() for run in self.baselines},
        }


def evaluate_bundle(
    bundle: Bundle,
    tape: Tape,
    start: int,
    stop: int,
    *,
    mode: str = "greedy",
    seed: int = 0,
    with_baselines: bool = True,
    extra: dict[str, tuple[str, Votes]] | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> Evaluation:
    """Backtest a bundle and the baselines over the bars start <= t < stop.

    Args:
        bundle: the policy with its rules; the instrument is the tape's.
        tape: the market.
        start: first decision bar.
        stop: one past the last bar.
        mode: ``greedy`` or ``sample``.
        seed: of sampling and of the random baseline.
        with_baselines: whether to run them.
        extra: more policies by name, each with a label and votes, such as a market's oracle.
        progress: told about bars that the networks have seen.
        stage: told about each piece of work.

    Raises:
        DataError: the range does not fit the tape.
        BundleError: the actors return values that are not finite.
    """
    if stage is not None:
        stage("networks")
    votes = bundle_votes(
        bundle, tape, np.arange(start, stop), mode=mode, seed=seed, progress=progress
    )
    confidence = train_confidence_of(bundle)
    return evaluate_votes(
        votes,
        tape,
        bundle.rules,
        start,
        stop,
        label="Trained agents",
        train_confidence=confidence,
        seed=seed,
        with_baselines=with_baselines,
        extra=extra,
        stage=stage,
    )


def evaluate_votes(
    votes: Votes,
    tape: Tape,
    rules: Rules,
    start: int,
    stop: int,
    *,
    label: str = "Policy",
    train_confidence: float = TrainingConfig().train_confidence,
    seed: int = 0,
    with_baselines: bool = True,
    extra: dict[str, tuple[str, Votes]] | None = None,
    stage: Stage | None = None,
) -> Evaluation:
    """Backtest any votes and the baselines; arguments as of ``evaluate_bundle``."""

    def run(name: str, text: str, its_votes: Votes) -> Run:
        if stage is not None:
            stage(text.lower())
        result = run_backtest(tape, its_votes, rules, start, stop)
        return Run(name, text, result, compute_metrics(result))

    policy = run("policy", label, votes)
    training = run_backtest(tape, constant_votes(votes.index, train_confidence), rules, start, stop)
    others = []
    if with_baselines:
        if stage is not None:
            stage("random baseline")
        chosen = {
            "always_hold": baselines.always_hold(tape, start, stop),
            "buy_and_hold": baselines.buy_and_hold(tape, start, stop),
            "random": baselines.random_like(policy.result, seed),
            "rule_based": baselines.rule_based(tape, start, stop),
        }
        others = [run(name, baselines.BASELINES[name], chosen[name]) for name in chosen]
    for name, (text, its_votes) in (extra or {}).items():
        others.append(run(name, text, its_votes))
    return Evaluation(policy, tuple(others), train_confidence, len(training.trades))


def train_confidence_of(bundle: Bundle) -> float:
    """Return the confidence with which votes counted in the bundle's training, if it says so."""
    value: Any = bundle.manifest["training"]
    for key in ("config", "training", "train_confidence"):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, int | float) and 0.0 < value <= 1.0:
        return float(value)
    return TrainingConfig().train_confidence

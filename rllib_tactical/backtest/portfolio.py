"""Several files traded side by side: one account each, judged together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from rllib_tactical.backtest.comparison import RIVALS, Comparison
from rllib_tactical.backtest.metrics import (
    Metrics,
    annual_days,
    compute_metrics,
    total_daily,
    total_equity,
)
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.targets import TARGETS, Target, plain_table
from rllib_tactical.backtest.verdict import loss_text, outcome_text
from rllib_tactical.statistics.significance import Series, Significance, judge
from rllib_tactical.statistics.trials import Trials


@dataclass(frozen=True, slots=True)
class TotalRun:
    """One policy over all files: its results file by file, and their metrics taken together."""

    name: str
    label: str
    results: tuple[BacktestResult, ...]
    metrics: Metrics

    def days(self) -> Series:
        """Return the days of all accounts together, by date."""
        daily = total_daily(self.results)
        pnl = daily["pnl"].to_numpy()
        returns = daily["return"].to_numpy()
        rival, year = self.name in RIVALS, annual_days(self.results)
        return Series(self.name, self.label, pnl, returns, rival, year)

    def equity(self) -> pd.DataFrame:
        """Return ``timestamp`` and ``equity`` of all accounts together."""
        return total_equity(self.results)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A policy over several files beside the baselines; ``parts`` by name of the file's source."""

    parts: dict[str, Comparison]
    runs: tuple[TotalRun, ...]
    significance: Significance | None
    targets: tuple[Target, ...] = TARGETS

    @property
    def policy(self) -> TotalRun:
        """The policy, the first of the runs."""
        return self.runs[0]

    def verdict(self) -> str:
        """Return the outcome in plain words."""
        others = [(run.name, run.label, run.metrics) for run in self.runs[1:]]
        text = outcome_text(self.policy.metrics, others, self.significance)
        return loss_text(*self.policy.results) + text

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for ``kpis.json``."""
        times = self.policy.equity()["timestamp"]
        metrics = self.policy.metrics.to_dict()
        return {
            "first_bar": times.iloc[0].isoformat(),
            "last_bar": times.iloc[-1].isoformat(),
            "bars": sum(len(result.equity) for result in self.policy.results),
            "kpis": metrics["values"],
            "undefined": metrics["undefined"],
            "targets": plain_table(self.policy.metrics, self.targets),
            "statistics": self.significance.to_dict() if self.significance is not None else None,
            "baselines": {run.name: run.metrics.to_dict() for run in self.runs[1:]},
            "parts": {name: part.to_dict() for name, part in self.parts.items()},
        }


def combine(parts: dict[str, Comparison], trials: Trials | None = None, seed: int = 0) -> Portfolio:
    """Take evaluations of one policy on several files together.

    Baselines count where every file has them.

    Args:
        parts: by name of the source.
        trials: what the policy was chosen from; None when unknown.
        seed: of the statistics.
    """
    every = list(parts.values())
    shared = set.intersection(*({run.name for run in part.runs} for part in every))
    runs = []
    for run in every[0].runs:
        if run.name in shared:
            at = [next(r for r in part.runs if r.name == run.name) for part in every]
            results = tuple(each.result for each in at)
            runs.append(TotalRun(run.name, run.label, results, compute_metrics(*results)))
    series = [run.days() for run in runs]
    significance = None
    if every[0].significance is not None and len(series[0].pnl) > 1:
        trades = sum(len(result.trades) for result in runs[0].results)
        significance = judge(series[0], series[1:], trades, trials, seed)
    return Portfolio(parts, tuple(runs), significance, every[0].targets)

"""From the bundles of an evaluation to one result: every seed, their mean, trials, statistics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import daily_pnl
from rllib_tactical.backtest.verdict import loss_text, outcome_text
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.statistics.significance import Series, Significance, in_words, judge
from rllib_tactical.statistics.trials import Trials
from rllib_tactical.walkforward.jobs import Job, Log
from rllib_tactical.walkforward.study import Study, evaluate_seed, stitched_votes


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation's result.

    ``seeds``: every seed's evaluation over all tests; ``median``: the seed whose net P&L is the
    median (the lower one of two); ``trials``: every seed with every temperature scale;
    ``significance`` of the mean over the seeds, an account split equally between them.
    """

    seeds: dict[int, Comparison]
    median: int
    trials: Trials
    significance: Significance

    @property
    def net_pnl(self) -> float:
        """Net P&L in dollars, the mean over the seeds."""
        return float(np.mean([e.policy.result.net_pnl for e in self.seeds.values()]))

    def report(self) -> Comparison:
        """Return the median seed's evaluation with the other seeds beside the baselines.

        Its judgment is that of the mean over the seeds.
        """
        own = self.seeds[self.median]
        others = tuple(
            dataclasses.replace(each.policy, name=f"seed_{seed}")
            for seed, each in self.seeds.items()
            if seed != self.median
        )
        baselines = (*own.baselines, *others)
        return dataclasses.replace(own, baselines=baselines, significance=self.significance)

    def verdict(self) -> str:
        """Return the outcome in plain words."""
        own = self.seeds[self.median]
        each = ", ".join(f"{e.policy.result.net_pnl:,.0f}" for e in self.seeds.values())
        others = [(run.name, run.label, run.metrics) for run in own.baselines]
        return (
            f"{loss_text(own.policy.result)}Net P&L by seed in dollars: {each}. "
            f"Mean over the seeds: {in_words(self.significance)} "
            f"Median seed: {outcome_text(own.policy.metrics, others, None)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "verdict": self.verdict(),
            "median_seed": self.median,
            "mean_net_pnl": self.net_pnl,
            "statistics": self.significance.to_dict(),
            "seeds": {str(seed): each.to_dict() for seed, each in self.seeds.items()},
        }


def summarize(study: Study, bundles: dict[Job, Bundle], log: Log) -> Summary:
    """Trade every seed's bundles on their tests and assess the mean over the seeds."""
    seeds = {}
    columns: dict[str, FloatArray] = {}
    for seed in study.seeds:
        log(f"trading the tests of seed {seed}")
        seeds[seed] = evaluate_seed(study, bundles, seed)
        columns |= _scale_trials(study, bundles, seed)
    trials = Trials(tuple(columns), np.column_stack(list(columns.values())))
    order = sorted(seeds, key=lambda seed: seeds[seed].policy.result.net_pnl)
    median = order[(len(order) - 1) // 2]
    days = [each.policy.days() for each in seeds.values()]
    mean = Series(
        "policy",
        "Mean over the seeds",
        np.mean([day.pnl for day in days], axis=0),
        np.mean([day.returns for day in days], axis=0),
        days_per_year=days[0].days_per_year,
    )
    others = [run.days() for run in seeds[median].baselines]
    trades = round(np.mean([each.full_rule_trades for each in seeds.values()]))
    return Summary(seeds, median, trials, judge(mean, others, trades, trials))


def _scale_trials(study: Study, bundles: dict[Job, Bundle], seed: int) -> dict[str, FloatArray]:
    """Return the daily P&L of a seed with every temperature scale it could have chosen."""
    found = {}
    for scale in study.config.training.temperature_scales:
        votes, _, start, stop = stitched_votes(study, bundles, seed, scale)
        result = run_backtest(study.history, votes, study.config.rules, start, stop)
        found[f"seed {seed}, scale {scale:g}"] = daily_pnl(result)["pnl"].to_numpy()
    return found

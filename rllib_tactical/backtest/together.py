"""Several instruments traded on one clock, with places for positions that they share.

Alone, each account is stepped as fast as it can be (``engine``). Together they wait for each other:
what one may open depends on what the others hold at that time. Each is still stepped by its own
``Simulator``, and ``PositionBudget`` says who has a place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_tactical.backtest.comparison import PASSIVE, Comparison, Run
from rllib_tactical.backtest.engine import result_of_log, step_report
from rllib_tactical.backtest.metrics import compute_metrics
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.tables import Log
from rllib_tactical.domain.decision.position_budget import PositionBudget
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.statistics.significance import judge
from rllib_tactical.statistics.trials import Trials


class _Trader:
    """One account on its way through the bars that it was traded on alone."""

    def __init__(self, alone: BacktestResult) -> None:
        self.alone = alone
        self.simulator = Simulator(alone.history, alone.rules, alone.rewards, 1)
        self.simulator.reset(np.zeros(1, dtype=np.int64), np.array([alone.start]))
        self.log: Log = {}

    @property
    def side(self) -> int:
        """The position at the close of the bar that it stands on."""
        return int(self.simulator.side[0])

    def step(self, full: bool) -> bool:
        """Decide, fill and mark on the next bar; return whether a position was ordered."""
        alone, simulator = self.alone, self.simulator
        row = int(simulator.t[0]) - alone.start
        simulator.full = np.array([full])
        votes = Votes(alone.votes.index[row : row + 1], alone.votes.confidence[row : row + 1])
        step = simulator.step(votes)
        steps = alone.stop - alone.start - 1
        for name, values in step_report(step, simulator).items():
            if name not in self.log:
                self.log[name] = np.zeros((steps, *values.shape[1:]), values.dtype)
            self.log[name][row] = values[0]
        return bool(step.decision.execute[0] and not step.decision.closes[0])

    def result(self) -> BacktestResult:
        """Return what came of it."""
        alone = self.alone
        made = result_of_log(
            alone.history,
            alone.votes,
            alone.rules,
            alone.rewards,
            alone.start,
            alone.stop,
            self.log,
        )
        return dataclasses.replace(made, outcomes=alone.outcomes)


def run_together(alone: Sequence[BacktestResult], places: int) -> tuple[BacktestResult, ...]:
    """Trade once more what was traded alone, at most ``places`` positions open at a time.

    Each keeps its votes, rules, range of bars and equity. At the close of a bar all that have one
    then decide in the order of ``alone``, each knowing what those before it have ordered.

    Raises:
        ConfigError: there is no place, or no account.
    """
    budget = PositionBudget(len(alone), places)
    traders = [_Trader(each) for each in alone]
    times = [each.history.bars.timestamp_s[each.start : each.stop] for each in alone]
    who = np.repeat(np.arange(len(alone)), [len(each) for each in times])
    time_s = np.concatenate(times)
    last = np.concatenate([np.arange(len(each)) == len(each) - 1 for each in times])
    order = np.lexsort((who, time_s))
    starts = np.flatnonzero(np.diff(time_s[order], prepend=-1))
    for group in np.split(order, starts[1:]):
        for event in group.tolist():
            account = int(who[event])
            # after its last bar an account gives its place back
            budget.mark(account, 0 if last[event] else traders[account].side)
        for event in group.tolist():
            account = int(who[event])
            if not last[event] and traders[account].step(budget.full_for(account)):
                budget.order(account)
    return tuple(trader.result() for trader in traders)


def with_places(
    parts: dict[str, Comparison], places: int, trials: Trials | None = None, seed: int = 0
) -> dict[str, Comparison]:
    """Return comparisons in which every policy that votes shares its places between the files.

    Buying and holding needs no place. Runs that not every file has are left as they are.

    Args:
        parts: by name of the source, each file traded alone.
        places: most positions that may be open at a time.
        trials: what the policy was chosen from, for the statistics; None when unknown.
        seed: of the statistics.

    Raises:
        ConfigError: there is no place.
    """
    runs = {name: {run.name: run for run in part.runs} for name, part in parts.items()}
    shared = set.intersection(*(set(each) for each in runs.values())) - set(PASSIVE)
    for kind in shared:
        alone = [runs[name][kind] for name in parts]
        results = run_together([run.result for run in alone], places)
        for name, run, result in zip(parts, alone, results, strict=True):
            runs[name][kind] = Run(run.name, run.label, result, compute_metrics(result))
    training = _training_rule_trades(parts, places)
    return {
        name: _replaced(part, list(runs[name].values()), training[name], trials, seed)
        for name, part in parts.items()
    }


def _training_rule_trades(parts: dict[str, Comparison], places: int) -> dict[str, int]:
    """Return, by name, how often each policy trades when its votes count as in training."""
    trained = [part for part in parts.values() if part.train_confidence is not None]
    if len(trained) < len(parts):
        return {name: len(part.policy.result.trades) for name, part in parts.items()}
    constant = [
        dataclasses.replace(
            part.policy.result,
            votes=constant_votes(part.policy.result.votes.index, part.train_confidence or 1.0),
        )
        for part in trained
    ]
    results = run_together(constant, places)
    return {name: len(each.trades) for name, each in zip(parts, results, strict=True)}


def _replaced(
    part: Comparison, runs: list[Run], training: int, trials: Trials | None, seed: int
) -> Comparison:
    policy, baselines = runs[0], tuple(runs[1:])
    if part.train_confidence is None:
        training = len(policy.result.trades)
    significance = None
    if part.significance is not None:
        days = [run.days() for run in runs]
        significance = judge(days[0], days[1:], len(policy.result.trades), trials, seed)
    return dataclasses.replace(
        part,
        policy=policy,
        baselines=baselines,
        training_rule_trades=training,
        significance=significance,
    )

"""Files of a backtest that share places for open positions.

Alone, each account is stepped as fast as it can be (``engine``). Together they wait for each other:
what one may open depends on what the others hold at that time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from rllib_tactical.backtest.comparison import PASSIVE, Comparison, Run
from rllib_tactical.backtest.engine import result_of_log, step_report
from rllib_tactical.backtest.metrics import compute_metrics
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.tables import Log
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.together import step_together
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.statistics.significance import judge
from rllib_tactical.statistics.trials import Trials

_VOTES: Final = ("index", "confidence")


@dataclass(frozen=True, slots=True)
class Voted:
    """Votes (K, 3) of a policy on the bars ``start`` <= t < ``stop`` of one file, K of them."""

    history: MarketHistory
    votes: Votes
    rules: Rules
    start: int
    stop: int
    rewards: RewardConfig = field(default_factory=RewardConfig)


def run_together(alone: Sequence[BacktestResult], places: int) -> tuple[BacktestResult, ...]:
    """Trade once more what was traded alone, at most ``places`` positions open at a time.

    Each keeps its votes, rules, range of bars and equity. See ``step_together``.

    Raises:
        ConfigError: there is no place, or no account.
    """
    voted = [
        Voted(each.history, each.votes, each.rules, each.start, each.stop, each.rewards)
        for each in alone
    ]
    (results,) = run_side_by_side([voted], places)
    return tuple(
        dataclasses.replace(found, outcomes=each.outcomes)
        for found, each in zip(results, alone, strict=True)
    )


def run_side_by_side(
    policies: Sequence[Sequence[Voted]], places: int
) -> list[tuple[BacktestResult, ...]]:
    """Trade the votes of N policies, each with places of its own, in one pass over the files.

    Args:
        policies: of each the votes on every file; rules and bars depend on the file alone.
        places: most positions that one policy may have open at a time.

    Raises:
        ConfigError: there is no place, or no account.
    """
    count, simulators = len(policies), []
    for each in policies[0]:
        simulator = Simulator(each.history, each.rules, each.rewards, count)
        simulator.reset(np.arange(count), np.full(count, each.start))
        simulators.append(simulator)
    files = list(zip(*policies, strict=True))
    logs: list[Log] = [{} for _ in files]

    def report(k: int, row: int, step: Step) -> None:
        log, steps = logs[k], files[k][0].stop - files[k][0].start - 1
        for name, values in step_report(step, simulators[k]).items():
            if name not in log:
                log[name] = np.zeros((steps, *values.shape), values.dtype)
            log[name][row] = values

    votes = [
        Votes(*(np.stack([getattr(each.votes, name) for each in file], axis=1) for name in _VOTES))
        for file in files
    ]
    step_together(simulators, votes, places, report)
    return [
        tuple(
            result_of_log(
                each.history,
                each.votes,
                each.rules,
                each.rewards,
                each.start,
                each.stop,
                {name: values[:, i] for name, values in log.items()},
            )
            for each, log in zip(policy, logs, strict=True)
        )
        for i, policy in enumerate(policies)
    ]


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

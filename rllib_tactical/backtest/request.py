"""From a request to evaluations: files of bars in, policies traded, contexts of reports out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.backtest.comparison import ORACLE, Comparison, compare_bundle, compare_votes
from rllib_tactical.backtest.engine import Progress
from rllib_tactical.backtest.policies import AS_BASELINE, POLICIES, planted_votes, policy_votes
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.shapley import agent_values
from rllib_tactical.backtest.sources import Source
from rllib_tactical.backtest.targets import TARGETS, Target
from rllib_tactical.backtest.training_overlap import Seen, seen_in_training
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import to_dict
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import Dataset, load_dataset
from rllib_tactical.data.interpret.interpretation import (
    INTERPRETATION,
    interpretation_of_data,
    warning_notes,
)
from rllib_tactical.data.sizing import SIZE_FROM, WarmUpBars, size_text
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.statistics.trials import Trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to trade: a bundle, or the built-in ``policy`` by ``rules``, over what range.

    ``with_agents``: the report says what each of a bundle's agents contributes.
    ``market`` names the synthetic market that the bars are of; its oracle then stands beside the
    policy. ``start_s`` and ``stop_s`` are UTC epoch seconds. ``rules`` and ``targets`` are those of
    a built-in policy: a bundle brings its own.
    """

    bundle: Bundle | None = None
    policy: str | None = None
    rules: Rules = field(default_factory=Rules)
    start_s: int | None = None
    stop_s: int | None = None
    seed: int = 0
    market: str | None = None
    with_baselines: bool = True
    with_statistics: bool = True
    with_agents: bool = False
    trials: Trials | None = None
    targets: tuple[Target, ...] = TARGETS

    def __post_init__(self) -> None:
        if (self.bundle is None) == (self.policy is None):
            raise UsageError("give --bundle or --policy, one of the two")
        if self.with_agents and self.bundle is None:
            raise UsageError("--agents is for --bundle: a built-in policy has no agents to compare")
        if self.policy is not None and self.policy not in POLICIES:
            raise UsageError(
                f"--policy must be one of {', '.join(POLICIES)}, found {self.policy!r}"
            )

    @property
    def name(self) -> str:
        """What reports call the policy."""
        return f"bundle {self.bundle.bundle_id[:12]}" if self.bundle else f"policy {self.policy}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One file's evaluation with what its report and config.json say about it."""

    comparison: Comparison
    context: ReportContext
    config: dict[str, Any]
    seen: Seen | None


def backtest_source(
    request: Request,
    source: Source,
    *,
    progress: Progress | None = None,
    stage: Callable[[str], None] = lambda name: None,
) -> Outcome:
    """Load one file, trade it and describe what came of it.

    Raises:
        TacticalError: the file cannot be read, its bars break a rule, look-ahead was found, the
            range is too short, or the bundle's actors fail.
    """
    bundle = request.bundle
    bar_seconds = bundle.bar_seconds if bundle is not None else BAR_SECONDS
    dataset = load_dataset(source.data, bar_seconds, stage).sized(WarmUpBars())
    history = dataset.history
    start, stop = decision_range(
        dataset.bars, history.first_decision, request.start_s, request.stop_s
    )
    comparison = _compare(request, history, start, stop, progress, stage)
    if request.with_agents:
        stage("coalitions of agents")
        values = agent_values(comparison.policy.result)
        comparison = dataclasses.replace(comparison, agents=values)
    stage("report")
    seen = seen_in_training(bundle, dataset.sha256, comparison.policy.result) if bundle else None
    config = describe(_identity(request), dataset, comparison.policy.result, request.seed)
    context = ReportContext(
        title=f"Backtest of {history.instrument.symbol} with {request.name}",
        facts=facts_of(config),
        seen=seen,
        notes=(*((source.note,) if source.note else ()), *warning_notes(config["data"])),
    )
    return Outcome(comparison, context, config, seen)


def decision_range(
    bars: Bars, first_decision: int, first_s: int | None, stop_s: int | None
) -> tuple[int, int]:
    """Return the decision bars of a time range as start <= t < stop.

    Args:
        bars: the history.
        first_decision: the first bar with warm features.
        first_s: UTC epoch second of the first bar wanted; the history's begin when None.
        stop_s: UTC epoch second before which bars must open; the history's end when None.

    Raises:
        DataError: fewer than two bars are left.
    """
    time_s = bars.timestamp_s
    start = 0 if first_s is None else int(np.searchsorted(time_s, first_s))
    start = max(start, first_decision)
    stop = len(bars) if stop_s is None else int(np.searchsorted(time_s, stop_s))
    if stop - start < 2:
        raise DataError(
            f"no bars to trade: the data covers {_iso(time_s[0])} to {_iso(time_s[-1])}, the first "
            f"{first_decision} bars warm up the features, and {max(0, stop - start)} bars of the "
            "range are left, at least 2 are needed"
        )
    return start, stop


def moment(text: str | None, option: str) -> int | None:
    """Return the UTC epoch second of an ISO date or time; times without an offset are UTC.

    Raises:
        UsageError: the text is no such time; names the option.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} must be a date such as 2025-03-31 or an ISO time, found {text!r}"
        ) from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _compare(
    request: Request,
    history: MarketHistory,
    start: int,
    stop: int,
    progress: Progress | None,
    stage: Callable[[str], None],
) -> Comparison:
    extra: dict[str, tuple[str, Votes]] = {}
    if request.market is not None and request.policy != ORACLE:
        votes = planted_votes(request.market, history, start, stop)
        extra[ORACLE] = (POLICIES[ORACLE], votes)
    if request.bundle is not None:
        return compare_bundle(
            request.bundle,
            history,
            start,
            stop,
            seed=request.seed,
            with_baselines=request.with_baselines,
            extra=extra,
            with_statistics=request.with_statistics,
            trials=request.trials,
            progress=progress,
            stage=stage,
        )
    name = request.policy or ""
    votes = policy_votes(name, history, start, stop, seed=request.seed, market=request.market)
    return compare_votes(
        votes,
        history,
        request.rules,
        start,
        stop,
        label=POLICIES[name],
        train_confidence=None,
        seed=request.seed,
        with_baselines=request.with_baselines,
        is_baseline=AS_BASELINE.get(name),
        extra=extra,
        with_statistics=request.with_statistics,
        trials=request.trials,
        targets=request.targets,
        stage=stage,
    )


def identity_of(bundle: Bundle) -> dict[str, Any]:
    """Return what config.json says of a bundle."""
    return {
        "bundle_id": bundle.bundle_id,
        "bundle_commit": bundle.manifest["git_commit"],
        "temperature_scale": bundle.temperature_scale,
        "mode": "greedy",
    }


def _identity(request: Request) -> dict[str, Any]:
    return {"policy": request.policy} if request.bundle is None else identity_of(request.bundle)


def describe(
    identity: dict[str, Any], dataset: Dataset, result: BacktestResult, seed: int
) -> dict[str, Any]:
    """Return the content of config.json: policy, data, range, instrument and rules.

    Args:
        identity: which policy it was, see ``identity_of``.
        dataset: the bars.
        result: what was traded on them.
        seed: of the baselines and the statistics.
    """
    return {
        **identity,
        "commit": git_commit(),
        "seed": seed,
        "data": {
            "name": dataset.source.path.name,
            "sha256": dataset.sha256,
            "bars": len(result.history),
            SIZE_FROM: dataset.size_from,
            INTERPRETATION: dataset.interpretation.to_dict(),
        },
        "bar_seconds": dataset.bar_seconds,
        "synergies": dataset.source.synergies_name,
        "range": {"start": result.start, "stop": result.stop},
        "instrument": to_dict(result.history.instrument),
        "rules": to_dict(result.rules),
        "rewards": to_dict(result.rewards),
    }


def facts_of(config: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a report says of a ``describe``, as pairs of a name and a text."""
    policy = [("policy", str(config["policy"]))] if "policy" in config else []
    if "bundle_id" in config:
        policy.append(("bundle", config["bundle_id"]))
        policy.append(("temperature scale", f"{config['temperature_scale']:g}"))
    return (
        *policy,
        ("data", f"{config['data']['name']}, {config['data']['bars']:,} bars"),
        ("data SHA-256", config["data"]["sha256"]),
        ("read as", interpretation_of_data(config["data"])),
        ("program", config["commit"] or "unknown commit"),
        ("instrument", _one_line(config["instrument"])),
        ("size", size_text(config["instrument"]["base_quantity"], config["data"][SIZE_FROM])),
        *((name, _one_line(values)) for name, values in config["rules"].items()),
    )


def _one_line(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _iso(time_s: np.int64) -> str:
    return f"{np.datetime64(int(time_s), 's')}Z"

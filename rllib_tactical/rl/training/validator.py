"""Validation beside training: in Ray tasks while training continues, or in the driver.

In both cases the result depends on the weights alone, and it is used at an iteration that the
configuration fixes. So a resumed run makes the same decisions as an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.bundle.inference import TorchEngine
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.types import Float32Array
from rllib_tactical.rl.extensions import Extensions, registered_extensions, restore_extensions
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.validation import (
    PartMetrics,
    Validation,
    combine,
    equal_size,
    trade_parts,
)
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.synthetic.oracle import oracle_votes

WORKERS_TIMEOUT_S = 300.0
"""Longest wait for a validation that is due: after the loss of a node a task may find no CPU."""

Weights = dict[str, Float32Array]
Parts = list[tuple[MarketHistory, Split]]


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A finished validation, with the iteration and the account steps of its weights."""

    iteration: int
    env_steps: int
    validation: Validation


class Validator:
    """Trades the validation bars of a market by the serving rule.

    Args:
        config: rules, temperature scales and ``training.validation``.
        market: its validation splits are traded; without any there is no result.
        stage: number of the curriculum's stage, recorded in the results.
        oracle: name of the synthetic market whose oracle the result is compared with, if any.
    """

    def __init__(
        self,
        config: TacticalConfig,
        market: TrainingMarket,
        stage: int = 0,
        oracle: str | None = None,
    ) -> None:
        self._settings = (
            config.rules,
            config.training.temperature_scales,
            config.training.train_confidence,
            oracle is not None,
            config.model.network,
            registered_extensions(),
            config.training.validation.target_win_rate,
            config.training.episodes.positions,
        )
        self._stage = stage
        self._parts: Parts = [(part.history, part.splits[1]) for part in market.parts]
        if any(split.stop <= split.start for _, split in self._parts):
            self._parts = []
        workers = config.training.validation.workers_for(len(self._parts))
        if config.training.episodes.positions is not None:
            workers = min(workers, 1)  # who shares places is traded together
        # distributed round robin; each share stays in the object store for all validations
        self._shares = [ray.put(self._parts[k::workers]) for k in range(workers)]
        self._oracle_pnl = self._earned_by(oracle, config.rules) if oracle is not None else None
        self._running: tuple[int, int, float | None, Weights, list[Any]] | None = None

    @property
    def pending(self) -> int | None:
        """The iteration whose validation was started and not yet collected."""
        return None if self._running is None else self._running[0]

    def start(self, iteration: int, env_steps: int, reward: float | None, weights: Weights) -> None:
        """Start to validate weights; the validation before must have been collected.

        ``reward`` is recorded in the result.
        """
        if self._parts:
            task = ray.remote(num_cpus=1)(_trade)
            tasks = [task.remote(weights, share, *self._settings) for share in self._shares]
            self._running = iteration, env_steps, reward, weights, tasks

    def collect(self) -> ValidationResult | None:
        """Wait for the validation that was started and return it; None when none was."""
        if self._running is None:
            return None
        iteration, env_steps, reward, weights, tasks = self._running
        self._running = None
        metrics = self._gather(tasks) if tasks else None
        if metrics is None:
            metrics = _trade(weights, self._parts, *self._settings)
        validation = dataclasses.replace(
            combine(metrics, self._settings[1], self._settings[0], self._settings[-2]),
            stage=self._stage,
            reward=reward,
        )
        if self._oracle_pnl:
            earned = sum(part.equal_size_pnl or 0.0 for part in metrics)
            validation = dataclasses.replace(validation, oracle_share=earned / self._oracle_pnl)
        return ValidationResult(iteration, env_steps, validation)

    def _gather(self, tasks: list[Any]) -> list[PartMetrics] | None:
        """Return the workers' metrics in the order of the parts; None when they gave none.

        After a loss of workers the next validation uses workers again; after a time-out none does.
        """
        try:
            shares = ray.get(tasks, timeout=WORKERS_TIMEOUT_S)
        except GetTimeoutError:
            for task in tasks:
                ray.cancel(task, force=True)
            self._shares = []
            return None
        except RayError:  # the driver validates instead
            return None
        return [shares[k % len(shares)][k // len(shares)] for k in range(len(self._parts))]

    def _earned_by(self, oracle: str, rules: Rules) -> float | None:
        """Return the oracle's net P&L on the validation bars at equal size; None unless > 0."""
        total = 0.0
        for history, split in self._parts:
            start, stop = max(split.start, history.first_decision), split.stop
            close = history.bars.close[start:stop]
            votes = oracle_votes(oracle, history.features.raw[start:stop], close)
            total += run_backtest(history, votes, equal_size(rules), start, stop).net_pnl
        return total if total > 0 else None


def _trade(
    weights: Weights,
    parts: Parts,
    rules: Rules,
    scales: tuple[float, ...],
    train_confidence: float,
    at_equal_size: bool,
    network: str,
    extensions: Extensions,
    target: float | None,
    positions: int | None,
) -> list[PartMetrics]:
    limit_threads()
    restore_extensions(extensions)
    engine = TorchEngine(weights, network)
    return trade_parts(
        engine, parts, rules, scales, train_confidence, at_equal_size, target, positions
    )

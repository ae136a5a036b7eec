"""Settings of the decision service: targets of performance, waiting for the state, limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rllib_tactical.domain.types import StrictConfig
from rllib_tactical.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTargets(StrictConfig):
    """Latency budgets of a decision and its stages in milliseconds; every breach is counted."""

    matrix_ms: float = 10.0
    inference_ms: float = 30.0
    aggregation_ms: float = 5.0
    total_pipeline_ms: float = 100.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            require(
                0 < value < math.inf,
                f"performance.latency_targets.{name} must be finite and > 0",
                value,
            )

    @property
    def by_stage_ms(self) -> tuple[float, float, float, float]:
        """The budgets of the matrix, inference, aggregation and all of it."""
        return self.matrix_ms, self.inference_ms, self.aggregation_ms, self.total_pipeline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTargets(StrictConfig):
    """Targets of a backtest, as shares: each agent's accuracy, the ensemble's, winning trades."""

    agent_accuracy: float = 0.60
    ensemble_accuracy: float = 0.70
    trade_win_rate: float = 0.55

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            require(0 < value <= 1, f"performance.accuracy_targets.{name} must be in (0, 1]", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceConfig(StrictConfig):
    """What is expected of decisions: how fast they are made, how often they are right."""

    latency_targets: LatencyTargets = field(default_factory=LatencyTargets)
    accuracy_targets: AccuracyTargets = field(default_factory=AccuracyTargets)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig(StrictConfig):
    """The decision service.

    A replica holds when the store of the state has taken no write of its own for ``lease_s``; it
    tries one when the last is older than a quarter of that, looking every ``poll_s``. An operator's
    order waits for the store as long at most. ``inference_timeout_ms``: actors
    that take longer are replaced by the rule-based votes. ``live_bars``: bars are of now, so that
    their age counts from their close; for replays from their arrival. Decisions by symbol hold when
    the last bar is older than ``max_bar_age_s`` beyond a bar's length. ``reload_timeout_s``: what a
    replica has to load another bundle. ``write_timeout_s``: how long a write may wait for the
    store. A promoted bundle whose session is halted by its drawdown limit within its first
    ``rollback_sessions`` sessions is replaced by the one before; 0 for never.
    """

    lease_s: float = 2.0
    poll_s: float = 0.5
    inference_timeout_ms: float = 50.0
    live_bars: bool = True
    max_bar_age_s: float = 300.0
    reload_timeout_s: float = 60.0
    write_timeout_s: float = 15.0
    rollback_sessions: int = 20

    def __post_init__(self) -> None:
        for name in (
            "lease_s",
            "poll_s",
            "inference_timeout_ms",
            "max_bar_age_s",
            "reload_timeout_s",
            "write_timeout_s",
        ):
            value = getattr(self, name)
            require(0 < value < math.inf, f"service.{name} must be finite and > 0", value)
        require(
            self.rollback_sessions >= 0,
            "service.rollback_sessions must be >= 0",
            self.rollback_sessions,
        )
        require(
            self.poll_s <= self.lease_s / 2,
            f"service.poll_s must be at most half of lease_s ({self.lease_s:g})",
            self.poll_s,
        )

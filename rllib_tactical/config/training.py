"""Settings of the run around learning: evaluation, when to stop, curriculum, warm start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rllib_tactical.domain.types import StrictConfig
from rllib_tactical.errors import ConfigError

DATA = "data"
"""The market of the curriculum's last stage: the files that training was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig(StrictConfig):
    """Validation by the serving rule.

    ``every`` so many iterations; 0: with every checkpoint. ``workers``: Ray tasks of one CPU that
    trade the validation bars while training goes on; 0: the driver does, and training waits.
    ``best_by``: the figure by which the best checkpoint is kept and exported, and which ``stop``
    looks at: net P&L or daily Sharpe ratio on validation bars, or the mean of the last 100 episode
    rewards, undefined before so many have ended.
    """

    every: int = 0
    workers: int = 0
    best_by: Literal["net_pnl", "sharpe", "reward"] = "net_pnl"

    def __post_init__(self) -> None:
        _require(self.every >= 0, "training.evaluation.every must be >= 0", self.every)
        _require(self.workers >= 0, "training.evaluation.workers must be >= 0", self.workers)

    def workers_for(self, instruments: int) -> int:
        """Return how many workers have something to trade: an instrument is not shared."""
        return min(self.workers, instruments)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopConfig(StrictConfig):
    """When a run ends before its last iteration; each is off at its default.

    ``target``: ``evaluation.best_by`` has reached this value. ``patience``: so many evaluations in
    a row brought no better one. ``converged``: the coefficient of variation of the last 100 episode
    rewards is below 5%. ``max_seconds`` and ``max_env_steps`` count the whole run. With a
    curriculum the first three count in its last stage only.
    """

    target: float | None = None
    patience: int = 0
    converged: bool = False
    max_seconds: float | None = None
    max_env_steps: int | None = None

    def __post_init__(self) -> None:
        _require(self.patience >= 0, "training.stop.patience must be >= 0", self.patience)
        if self.target is not None:
            _require(math.isfinite(self.target), "training.stop.target must be finite", self.target)
        for name in ("max_seconds", "max_env_steps"):
            value = getattr(self, name)
            if value is not None:
                _require(0 < value < math.inf, f"training.stop.{name} must be > 0", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig(StrictConfig):
    """One stage of a curriculum: a market, and when the run is promoted to the next.

    ``market``: a synthetic market (``gap``, ``momentum``, ``regime``, ``noise``) of ``bars``
    bars drawn with ``seed`` at ``difficulty`` 0 to 1; or ``data``, the files of the run, which is
    the last stage and no other.

    Promotion comes after ``min_iterations`` in the stage, when ``promote_by`` has reached
    ``promote_at`` (``oracle_share``: validation P&L as a share of the oracle's on the same bars,
    both at equal size; ``reward``: mean of the last 100 episode rewards, once so many have ended
    in the stage; ``net_pnl``), and in any case after ``max_iterations``; None turns either off.
    """

    name: str
    market: Literal["gap", "momentum", "regime", "noise", "data"]
    difficulty: float = 0.0
    bars: int = 40_000
    seed: int = 1
    promote_by: Literal["oracle_share", "reward", "net_pnl"] = "oracle_share"
    promote_at: float | None = None
    min_iterations: int = 1
    max_iterations: int | None = None

    def __post_init__(self) -> None:
        where = f"training.curriculum: stage {self.name!r}"
        _require(bool(self.name.strip()), "training.curriculum: a stage needs a name", self.name)
        _require(
            0.0 <= self.difficulty <= 1.0, f"{where}: difficulty must be in [0, 1]", self.difficulty
        )
        _require(self.bars >= 1, f"{where}: bars must be >= 1", self.bars)
        _require(self.seed >= 0, f"{where}: seed must be >= 0", self.seed)
        _require(
            self.min_iterations >= 1, f"{where}: min_iterations must be >= 1", self.min_iterations
        )
        if self.promote_at is not None:
            _require(
                math.isfinite(self.promote_at),
                f"{where}: promote_at must be finite",
                self.promote_at,
            )
        if self.max_iterations is not None:
            _require(
                self.max_iterations >= self.min_iterations,
                f"{where}: max_iterations must be at least min_iterations ({self.min_iterations})",
                self.max_iterations,
            )
        if self.market == DATA:
            _require(
                self.promote_at is None and self.max_iterations is None,
                f"{where}: the last stage has no promote_at and no max_iterations",
                (self.promote_at, self.max_iterations),
            )
        else:
            _require(
                self.promote_at is not None or self.max_iterations is not None,
                f"{where}: promote_at or max_iterations is needed to leave it",
                None,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartConfig(StrictConfig):
    """Actor weights to begin with.

    ``path``: a run, a checkpoint or a bundle. ``layers`` "conv": attention weights and both
    convolutions; "all": the actors as they were, input standardization and temperature included.
    """

    path: str | None = None
    layers: Literal["conv", "all"] = "conv"


def check_curriculum(stages: tuple[StageConfig, ...]) -> None:
    """Check what stages must keep together.

    Raises:
        ConfigError: two stages of one name, or ``data`` is not the last stage and only that.
    """
    if not stages:
        return
    names = [stage.name for stage in stages]
    _require(
        len(set(names)) == len(names), "training.curriculum: every stage needs its own name", names
    )
    markets = [stage.market for stage in stages]
    _require(
        markets[-1] == DATA and DATA not in markets[:-1],
        f"training.curriculum: the last stage's market, and no other, must be {DATA!r}",
        markets,
    )


def check_validated(
    share: float,
    evaluation: ValidationConfig,
    stop: StopConfig,
    stages: tuple[StageConfig, ...],
) -> None:
    """Check that nothing waits for what validation can never say.

    Not a rule of the configuration itself: runs that broke it were made, and can be exported.

    Args:
        share: of the bars that are for validation.
        evaluation: how it is done.
        stop: when a run ends.
        stages: of the curriculum; their markets are split as the files are.

    Raises:
        ConfigError: there are no validation bars and a criterion needs them, or a stage of noise
            waits for a share of what its oracle may not earn.
    """
    waiting = {
        "stop.target": stop.target is not None,
        "stop.patience": stop.patience > 0,
        f"evaluation.best_by {evaluation.best_by}": evaluation.best_by != "net_pnl",
    } | {
        f"stage {stage.name!r} without max_iterations": stage.market != DATA
        and stage.promote_by != "reward"
        and stage.max_iterations is None
        for stage in stages
    }
    needed = ", ".join(name for name, waits in waiting.items() if waits)
    _require(
        share > 0 or not needed,
        f"training.splits must leave bars for validation, which is needed by {needed}",
        share,
    )
    for stage in stages:
        _require(
            (stage.market, stage.promote_by, stage.max_iterations)
            != ("noise", "oracle_share", None),
            f"training.curriculum: stage {stage.name!r}: max_iterations is needed to leave noise "
            "by oracle_share, which is undefined where the oracle earns nothing",
            None,
        )


def _require(condition: bool, rule: str, found: object) -> None:
    if not condition:
        raise ConfigError(f"{rule}, found {found!r}")

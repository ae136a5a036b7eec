"""Settings of a curriculum: the markets that training goes through, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rllib_tactical.domain.types import StrictConfig
from rllib_tactical.errors import require

DATA = "data"
"""The market of the curriculum's last stage: the files that training was given."""


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
        require(bool(self.name.strip()), "training.curriculum: a stage needs a name", self.name)
        require(
            0.0 <= self.difficulty <= 1.0, f"{where}: difficulty must be in [0, 1]", self.difficulty
        )
        require(self.bars >= 1, f"{where}: bars must be >= 1", self.bars)
        require(self.seed >= 0, f"{where}: seed must be >= 0", self.seed)
        require(
            self.min_iterations >= 1, f"{where}: min_iterations must be >= 1", self.min_iterations
        )
        if self.promote_at is not None:
            require(
                math.isfinite(self.promote_at),
                f"{where}: promote_at must be finite",
                self.promote_at,
            )
        if self.max_iterations is not None:
            require(
                self.max_iterations >= self.min_iterations,
                f"{where}: max_iterations must be at least min_iterations ({self.min_iterations})",
                self.max_iterations,
            )
        if self.market == DATA:
            require(
                self.promote_at is None and self.max_iterations is None,
                f"{where}: the last stage has no promote_at and no max_iterations",
                (self.promote_at, self.max_iterations),
            )
        else:
            require(
                self.promote_at is not None or self.max_iterations is not None,
                f"{where}: promote_at or max_iterations is needed to leave it",
                None,
            )


def check_curriculum(stages: tuple[StageConfig, ...]) -> None:
    """Check what stages must keep together.

    Raises:
        ConfigError: two stages of one name, or ``data`` is not the last stage and only that.
    """
    if not stages:
        return
    names = [stage.name for stage in stages]
    require(
        len(set(names)) == len(names), "training.curriculum: every stage needs its own name", names
    )
    markets = [stage.market for stage in stages]
    require(
        markets[-1] == DATA and DATA not in markets[:-1],
        f"training.curriculum: the last stage's market, and no other, must be {DATA!r}",
        markets,
    )

"""The curriculum: synthetic markets before real bars, and when a run is promoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envs.market import MarketPart, MarketSpec
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.curriculum import DATA, StageConfig
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import check_validated
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.errors import ConfigError, TacticalError
from rllib_tactical.rl.algorithm.ablations import check_ablations
from rllib_tactical.rl.training.market import PreparedPart, TrainingMarket
from rllib_tactical.synthetic import make_market


@dataclass(frozen=True, slots=True)
class SyntheticOrigin:
    """What a synthetic market is made from."""

    market: str
    seed: int
    bars: int
    difficulty: float
    splits: tuple[float, float, float]

    def parts(self) -> tuple[MarketPart, ...]:
        """Make the market, the same every time."""
        history = make_market(self.market, self.seed, self.bars, self.difficulty).history()
        return (MarketPart(history, split_history(len(history), self.splits)[0]),)

    def __str__(self) -> str:
        return f"{self.bars:,} bars of the {self.market} market"


def stage_market(
    stage: StageConfig, config: TacticalConfig, standardization: Standardization
) -> TrainingMarket:
    """Make a stage's market, split like the files of bars; equal stages have equal bars.

    Args:
        stage: any but the last.
        config: splits, episodes, rules and rewards.
        standardization: of the run's training bars: it is part of the actors, which are kept.

    Raises:
        UsageError: bars, seed or difficulty are out of range.
        DataError: too few bars for the splits or an episode.
    """
    origin = SyntheticOrigin(
        stage.market, stage.seed, stage.bars, stage.difficulty, config.training.splits
    )
    parts = origin.parts()
    history = parts[0].history
    splits = split_history(len(history), config.training.splits)
    source = {"name": f"{stage.market} market", "rows": len(history)}
    spec = MarketSpec.from_config(config, parts)
    spec.replays(1, seed=0)  # raises for a split too short for an episode
    prepared = (PreparedPart(history, splits, source),)
    return TrainingMarket(spec, prepared, standardization, origin)


def check_new_run(config: TacticalConfig, standardization: Standardization) -> None:
    """Refuse what a run would fail at after hours: criteria never met, stages that cannot start.

    Makes the market of every stage once.

    Raises:
        ConfigError: see ``check_ablations`` and ``check_validated``; or a stage's market cannot be
            made or is too short, and the message names the stage.
    """
    check_ablations(config)
    training = config.training
    check_validated(training.splits[1], training.validation, training.stop, training.curriculum)
    for stage in config.training.curriculum:
        if stage.market != DATA:
            try:
                stage_market(stage, config, standardization)
            except TacticalError as error:
                raise ConfigError(f"training.curriculum: stage {stage.name!r}: {error}") from error


def oracle_of(stage: StageConfig | None) -> str | None:
    """Return the name of the oracle that a stage's market has."""
    return stage.market if stage is not None and stage.market != DATA else None


def promoted(
    stage: StageConfig,
    iterations: int,
    reward: float | None,
    validation: dict[str, Any] | None,
) -> bool:
    """Return whether the run leaves a stage.

    Args:
        stage: the one it is in.
        iterations: done in it.
        reward: mean of the last 100 episodes in it, None before so many.
        validation: the newest scheduled one made in it.
    """
    if stage.market == DATA or iterations < stage.min_iterations:
        return False
    if stage.max_iterations is not None and iterations >= stage.max_iterations:
        return True
    if stage.promote_at is None:
        return False
    value = reward
    if stage.promote_by != "reward":
        value = None if validation is None else validation.get(stage.promote_by)
    return value is not None and value >= stage.promote_at

"""The market of a sweep: in the object store once, opened once per worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envs.market import MarketSpec
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import Split
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.market import PreparedPart, TrainingMarket


@dataclass(frozen=True, slots=True)
class SharedMarket:
    """A prepared market whose bars are in Ray's object store; some kilobytes to send."""

    handle: MarketHandle
    splits: tuple[tuple[Split, Split, Split], ...]
    sources: tuple[dict[str, Any], ...]
    standardization: Standardization

    @classmethod
    def share(cls, market: TrainingMarket) -> SharedMarket:
        """Put a market into the object store; this process must outlive its users."""
        return cls(
            market.handle(),
            tuple(part.splits for part in market.parts),
            tuple(part.source for part in market.parts),
            market.standardization,
        )

    def market(self, config: TacticalConfig) -> TrainingMarket:
        """Return the market with the rules, rewards and episodes of a trial.

        What is estimated on training bars is the same for all trials: splits are not swept.

        Raises:
            DataError: a split is too short for the trial's episodes.
            ConfigError: the trial's accounts do not go round the instruments.
        """
        parts = self.handle.open().parts
        spec = MarketSpec.from_config(config, parts)
        training = config.training
        spec.replay_set(training.num_envs, seed=0, group_size=training.accounts_per_bar)
        prepared = tuple(
            PreparedPart(part.history, splits, source)
            for part, splits, source in zip(parts, self.splits, self.sources, strict=True)
        )
        return TrainingMarket(spec, prepared, self.standardization)

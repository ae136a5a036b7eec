"""From files of bars to everything that training needs, with the checks before it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.market import MarketPart, MarketSpec
from rllib_tactical.bundle.network_registry import NETWORKS
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import DataSource, load_dataset
from rllib_tactical.data.interpret.interpretation import interpretation_of_data
from rllib_tactical.data.sizing import SIZE_FROM, TrainingBars, size_text
from rllib_tactical.data.synergy_events import DETECT, NONE
from rllib_tactical.domain.simulation.history import (
    MarketHistory,
    Split,
    split_history,
)
from rllib_tactical.domain.types import Bars, Float32Array
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.sampling.market_ref import MarketHandle, MarketOrigin

STANDARDIZATION_WINDOWS = 2_000


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """One prepared instrument: its market history, the three splits, and its source."""

    history: MarketHistory
    splits: tuple[Split, Split, Split]
    source: dict[str, Any]

    def summary(self) -> str:
        """Return one line for the log: bars, splits and size."""
        splits = ", ".join(f"{s.name} {s.stop - s.start:,}" for s in self.splits)
        instrument = self.history.instrument
        return (
            f"{len(self.history):,} bars of {instrument.symbol} (decision bars: {splits}); "
            f"size {size_text(instrument.base_quantity, self.source.get(SIZE_FROM))}"
        )

    def read_as(self) -> str:
        """Return one line for the log: what the file of bars was taken for."""
        return interpretation_of_data(self.source)


@dataclass(frozen=True, slots=True)
class TrainingMarket:
    """All prepared instruments; ``spec`` is what env runners replay."""

    spec: MarketSpec
    parts: tuple[PreparedPart, ...]
    standardization: Standardization
    origin: MarketOrigin | None = None

    def handle(self) -> MarketHandle:
        """Put the bars into Ray's object store and return what a configuration of RLlib takes."""
        return MarketHandle(self.spec, self.origin)


@dataclass(frozen=True, slots=True)
class MarketFiles:
    """The files that a market is made from, and how."""

    sources: tuple[DataSource, ...]
    bar_seconds: int
    splits: tuple[float, float, float]

    @classmethod
    def of(
        cls, sources: list[DataSource], bar_seconds: int, splits: tuple[float, float, float]
    ) -> MarketFiles:
        """Return an origin by absolute paths, so that it holds in any working directory."""
        return cls(tuple(_absolute(source) for source in sources), bar_seconds, splits)

    def parts(self) -> tuple[MarketPart, ...]:
        """Read the files again.

        Raises:
            TacticalError: as of ``prepare_market``.
        """
        prepared = [_prepare_part(each, self.splits, self.bar_seconds) for each in self.sources]
        return tuple(MarketPart(part.history, part.splits[0]) for part in prepared)

    def __str__(self) -> str:
        return ", ".join(str(source.path) for source in self.sources)


def prepare_market(
    sources: list[DataSource], config: TacticalConfig, bar_seconds: int = BAR_SECONDS
) -> TrainingMarket:
    """Load and check bars, check causality, split, and estimate sizes and standardization.

    The standardization of the network input is of training bars only; so is the base quantity of
    an instrument that has none, unless its source names other bars for it.

    Args:
        sources: files of bars, one per instrument.
        config: splits, episodes, rules and rewards.
        bar_seconds: length of a bar.

    Raises:
        UnreadableError: a file cannot be read.
        DataError: data breaks a rule or is too short for the splits.
        FeatureError: a feature depends on later bars.
        ConfigError: two files of one instrument, too few accounts for all instruments, places to
            share for one instrument, or a network or reward function that nobody has registered.
    """
    NETWORKS.get(config.model.network)  # an unknown name is found before anything starts
    symbols = [source.instrument.symbol for source in sources]
    if len(set(symbols)) < len(symbols):
        raise ConfigError(f"each --data file needs an instrument of its own, found {symbols}")
    positions = config.training.episodes.positions
    if positions is not None and len(sources) < 2:
        raise ConfigError(
            "training.episodes.positions needs instruments that share places, two --data files or "
            f"more, or null, found {positions} with one file"
        )
    splits = config.training.splits
    parts = tuple(_prepare_part(source, splits, bar_seconds) for source in sources)
    spec = MarketSpec.from_config(
        config, tuple(MarketPart(part.history, part.splits[0]) for part in parts)
    )
    # raises for a split too short for an episode, fewer groups of accounts than instruments, or
    # instruments that are to share places but have other bars
    spec.replay_set(config.training.num_envs, seed=0, group_size=config.training.accounts_per_bar)
    windows = np.concatenate([_training_windows(part, len(parts)) for part in parts])
    origin = MarketFiles.of(sources, bar_seconds, splits)
    return TrainingMarket(spec, parts, Standardization.estimate(windows), origin)


def _absolute(source: DataSource) -> DataSource:
    synergies = source.synergies
    if synergies not in (DETECT, NONE):
        synergies = str(Path(synergies).absolute())
    return dataclasses.replace(source, path=Path(source.path).absolute(), synergies=synergies)


def _prepare_part(
    source: DataSource, shares: tuple[float, float, float], bar_seconds: int
) -> PreparedPart:
    loaded = load_dataset(source, bar_seconds)
    splits = split_history(len(loaded.bars), shares)
    dataset = loaded.sized(TrainingBars(splits[0].stop))
    described = dataset.describe() | {
        "splits": {split.name: _span(dataset.bars, split) for split in splits}
    }
    return PreparedPart(dataset.history, splits, described)


def _training_windows(part: PreparedPart, parts: int) -> Float32Array:
    """Return network inputs (N, 60, 7) spread evenly over the training bars."""
    train = part.splits[0]
    first = max(train.start, part.history.first_decision)
    step = max(1, (train.stop - first) * parts // STANDARDIZATION_WINDOWS)
    return part.history.inputs.gather(np.arange(first, train.stop, step))


def _span(bars: Bars, split: Split) -> dict[str, Any]:
    """Return a split as row numbers and as the UTC times of its first and last bar."""
    if split.stop <= split.start:
        return {"start": split.start, "stop": split.stop, "first": None, "last": None}
    ends = bars.timestamp_s[[split.start, split.stop - 1]].astype("datetime64[s]")
    return {
        "start": split.start,
        "stop": split.stop,
        "first": f"{ends[0]}Z",
        "last": f"{ends[1]}Z",
    }

"""From files of bars to everything that training needs, with the gates that come first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.market import MarketPart, MarketSpec
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import load_market
from rllib_tactical.data.files import file_sha256
from rllib_tactical.data.instruments import resolve_base_quantity
from rllib_tactical.data.synergy_events import DETECT, NONE, synergies_for
from rllib_tactical.domain.features.causality import check_causality
from rllib_tactical.domain.simulation.history import (
    MarketHistory,
    Split,
    build_history,
    split_history,
)
from rllib_tactical.domain.types import Bars, Float32Array, Instrument
from rllib_tactical.errors import ConfigError

STANDARDIZATION_WINDOWS = 2_000


@dataclass(frozen=True, slots=True)
class DataSource:
    """One file of bars to train on, and what it is of.

    ``synergies``: ``detect``, ``none`` or the path of a file of events.
    """

    path: Path
    instrument: Instrument
    synergies: str = DETECT


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """One instrument made ready: its market history, the three splits, and where it came from."""

    history: MarketHistory
    splits: tuple[Split, Split, Split]
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingMarket:
    """All instruments made ready; ``spec`` is what env runners replay."""

    spec: MarketSpec
    parts: tuple[PreparedPart, ...]
    standardization: Standardization


def prepare_market(
    sources: list[DataSource], config: TacticalConfig, bar_seconds: int = BAR_SECONDS
) -> TrainingMarket:
    """Load and check bars, run the causality gate, split, estimate what comes from training bars.

    The instruments' base quantities (where they have none) and the standardization of the network
    input use training bars only.

    Args:
        sources: files of bars, one per instrument.
        config: splits, episodes, rules and rewards.
        bar_seconds: length of a bar.

    Raises:
        UnreadableError: a file cannot be read.
        DataError: data breaks a rule or is too short for the splits.
        FeatureError: a feature depends on later bars.
        ConfigError: two files of one instrument, or too few accounts for all instruments.
    """
    symbols = [source.instrument.symbol for source in sources]
    if len(set(symbols)) < len(symbols):
        raise ConfigError(f"each --data file needs an instrument of its own, found {symbols}")
    parts = tuple(_prepare_part(source, config, bar_seconds) for source in sources)
    spec = MarketSpec.from_config(
        config, tuple(MarketPart(part.history, part.splits[0]) for part in parts)
    )
    # found here: a split too short for an episode, fewer groups of accounts than instruments
    spec.replays(config.training.num_envs, seed=0, group_size=config.training.accounts_per_bar)
    windows = np.concatenate([_training_windows(part, len(parts)) for part in parts])
    return TrainingMarket(spec, parts, Standardization.estimate(windows))


def _prepare_part(source: DataSource, config: TacticalConfig, bar_seconds: int) -> PreparedPart:
    bars, sessions = load_market(source.path, source.instrument, bar_seconds)
    check_causality(bars)
    splits = split_history(len(bars), config.training.splits)
    synergies = synergies_for(source.synergies, bars, bar_seconds)
    history = build_history(bars, sessions, source.instrument, synergies)
    first = max(splits[0].start, history.first_decision)
    mean_atr = float(history.features.atr[first : splits[0].stop].mean())
    history = dataclasses.replace(
        history, instrument=resolve_base_quantity(source.instrument, mean_atr)
    )
    built_in = source.synergies in (DETECT, NONE)
    described = {
        "name": source.path.name,
        "sha256": file_sha256(source.path),
        "rows": len(bars),
        "bar_seconds": bar_seconds,
        "synergies": source.synergies if built_in else file_sha256(Path(source.synergies)),
        "splits": {split.name: _span(bars, split) for split in splits},
    }
    return PreparedPart(history, splits, described)


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

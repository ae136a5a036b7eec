"""From a file of bars to everything that training needs, with the gates that come first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.market import MarketSpec
from rllib_tactical.config import TacticalConfig
from rllib_tactical.data.files import file_sha256
from rllib_tactical.data.instruments import resolve_base_quantity
from rllib_tactical.data.load import load_market
from rllib_tactical.data.synergies import DETECT, NONE, synergies_for
from rllib_tactical.domain.causality import check_causality
from rllib_tactical.domain.tape import Split, Tape, build_tape, split_tape
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.networks import Standardisation

STANDARDISATION_WINDOWS = 2_000


@dataclass(frozen=True, slots=True)
class TrainingMarket:
    """Bars made ready: ``spec`` to train on, the three splits, and where it all came from."""

    spec: MarketSpec
    splits: tuple[Split, Split, Split]
    standardisation: Standardisation
    source: dict[str, Any]

    @property
    def tape(self) -> Tape:
        """The whole history."""
        return self.spec.tape


def prepare_market(
    path: Path,
    instrument: Instrument,
    config: TacticalConfig,
    bar_seconds: int = 300,
    synergies: str = DETECT,
) -> TrainingMarket:
    """Load and check bars, run the causality gate, split, estimate what comes from training bars.

    The instrument's base quantity (when it has none) and the standardisation of the network input
    use training bars only.

    Args:
        path: file of bars.
        instrument: what they are of.
        config: splits, episodes, rules and rewards.
        bar_seconds: length of a bar.
        synergies: ``detect``, ``none`` or a file of events.

    Raises:
        UnreadableError: the file cannot be read.
        DataError: the data breaks a rule or is too short for the splits.
        FeatureError: a feature depends on later bars.
    """
    bars, sessions = load_market(path, instrument, bar_seconds)
    check_causality(bars)
    splits = split_tape(len(bars), config.training.splits)
    train = splits[0]
    tape = build_tape(bars, sessions, instrument, synergies_for(synergies, bars, bar_seconds))
    first = max(train.start, tape.first_decision)
    mean_atr = float(tape.features.atr[first : train.stop].mean())
    sized = resolve_base_quantity(instrument, mean_atr)
    tape = Tape(tape.bars, tape.features, tape.inputs, tape.sessions, tape.synergy, sized)
    spec = MarketSpec(
        tape=tape,
        split=train,
        rules=config.rules,
        rewards=config.rewards,
        episodes=config.training.episodes,
        train_confidence=config.training.train_confidence,
    )
    spec.replay(1, seed=0)  # a split too short for an episode is found here, not in a worker
    step = max(1, (train.stop - first) // STANDARDISATION_WINDOWS)
    windows = tape.inputs.gather(np.arange(first, train.stop, step))
    source = {
        "name": path.name,
        "sha256": file_sha256(path),
        "rows": len(bars),
        "bar_seconds": bar_seconds,
        "synergies": synergies
        if synergies in (DETECT, NONE)
        else f"events with SHA-256 {file_sha256(Path(synergies))}",
        "splits": {split.name: _span(bars, split) for split in splits},
    }
    return TrainingMarket(spec, splits, Standardisation.estimate(windows), source)


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

"""The one way from a file of bars to a market history; every command takes it.

``load_dataset`` reads and checks the bars, checks their features for look-ahead, and adds
synergies, sessions and features. ``UnsizedDataset.sized`` then gives the instrument its base
quantity, by a rule that the caller names (see ``sizing``) and that files and reports repeat.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.files import file_sha256
from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.interpret.interpretation import INTERPRETATION, Interpretation
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.interpret.read import Reading, read_interpreted
from rllib_tactical.data.sizing import SIZE_FROM, SizeFrom, resolve_size
from rllib_tactical.data.synergy_events import (
    DETECT,
    NONE,
    SYNERGIES,
    synergies_for,
    synergy_warnings,
)
from rllib_tactical.domain.features.causality import check_causality
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.errors import UsageError

Stage = Callable[[str], None]
"""Called with the name of the step that begins."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """One file of bars, and what it is of.

    ``synergies``: ``detect``, ``none`` or the path of a file of events. ``size_from``: what sizes
    an instrument without base quantity; None leaves it to the command. ``options`` say how the file
    is to be read, as far as it does not show that itself.
    """

    path: Path
    instrument: Instrument
    synergies: str = DETECT
    size_from: SizeFrom | None = None
    options: ReadOptions = AS_FOUND

    @classmethod
    def of(
        cls,
        path: Path | str,
        instrument: str | None = None,
        synergies: str = DETECT,
        options: ReadOptions = AS_FOUND,
    ) -> DataSource:
        """Return a source by the name of a shipped instrument or the path of an instrument's YAML.

        Args:
            path: file of bars; a folder or a pattern for several files of one instrument.
            instrument: name or YAML file; None infers it from the name of the file.
            synergies: ``detect``, ``none`` or the path of a file of events.
            options: how the file is to be read, as far as it does not show that itself.

        Raises:
            ConfigError: an unknown instrument, or none that can be inferred.
            UnreadableError: the instrument's file cannot be read.
        """
        path = Path(path)
        return cls(path, instrument_for(instrument, path), synergies, options=options)

    @property
    def synergies_name(self) -> str:
        """``detect``, ``none`` or the name of the file of events, without its folder."""
        return self.synergies if self._detects_or_none else Path(self.synergies).name

    def synergies_sha256(self) -> str:
        """Return ``detect``, ``none`` or the SHA-256 of the file of events."""
        return self.synergies if self._detects_or_none else file_sha256(Path(self.synergies))

    @property
    def _detects_or_none(self) -> bool:
        return self.synergies in (DETECT, NONE)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of bars ready for use: ``history`` has an instrument with a base quantity.

    ``size_from`` describes what the base quantity is from, ``interpretation`` what the file was
    taken for.
    """

    source: DataSource
    bar_seconds: int
    sha256: str
    history: MarketHistory
    size_from: dict[str, Any]
    interpretation: Interpretation

    @property
    def bars(self) -> Bars:
        """The bars of the file."""
        return self.history.bars

    def describe(self) -> dict[str, Any]:
        """Return what run folders, bundles and results remember of the file."""
        return {
            "name": self.source.path.name,
            "sha256": self.sha256,
            "rows": len(self.bars),
            "bar_seconds": self.bar_seconds,
            SYNERGIES: self.source.synergies_sha256(),
            SIZE_FROM: self.size_from,
            INTERPRETATION: self.interpretation.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class UnsizedDataset:
    """A loaded file whose instrument may still lack a base quantity: ``sized`` gives it one."""

    source: DataSource
    bar_seconds: int
    sha256: str
    _history: MarketHistory
    interpretation: Interpretation

    @property
    def bars(self) -> Bars:
        """The bars of the file."""
        return self._history.bars

    def sized(self, size_from: SizeFrom) -> Dataset:
        """Return the dataset with a base quantity.

        The instrument's own base quantity counts first, then ``source.size_from``, then
        ``size_from``.

        Raises:
            OrderError: the mean ATR of the bars that size it is not above zero.
        """
        chosen = self.source.size_from or size_from
        instrument, described = resolve_size(self._history, chosen)
        history = dataclasses.replace(self._history, instrument=instrument)
        return Dataset(
            self.source, self.bar_seconds, self.sha256, history, described, self.interpretation
        )


def load_dataset(
    source: DataSource, bar_seconds: int = BAR_SECONDS, stage: Stage = lambda name: None
) -> UnsizedDataset:
    """Load a file of bars with all that is known at each bar's close.

    Args:
        source: the file, its instrument and its synergies.
        bar_seconds: length of a bar.
        stage: called with the name of each step.

    Raises:
        UnreadableError: the file, or that of the synergies, cannot be read.
        DataError: the data break rules, are too few, or the calendar does not cover them.
        FeatureError: a feature depends on later bars.
        ConfigError: unknown calendar or time zone.
    """
    reading = load_bars(source.path, bar_seconds, stage, source.options, source.instrument)
    bars = reading.bars
    stage("features")
    synergies = synergies_for(source.synergies, bars, bar_seconds)
    sessions = sessions_of(bars, source.instrument, bar_seconds)
    history = build_history(bars, sessions, source.instrument, synergies)
    stated = reading.interpretation
    stated = dataclasses.replace(stated, warnings=stated.warnings | synergy_warnings(synergies))
    return UnsizedDataset(source, bar_seconds, file_sha256(source.path), history, stated)


def load_bars(
    path: str | os.PathLike[str],
    bar_seconds: int = BAR_SECONDS,
    stage: Stage = lambda name: None,
    options: ReadOptions = AS_FOUND,
    instrument: Instrument | None = None,
) -> Reading:
    """Read, interpret and check a file of bars, and check its features for look-ahead.

    Args:
        path: file of bars; a folder or a pattern for several files of one instrument.
        bar_seconds: length of a bar.
        stage: called with the name of each step.
        options: how the file is to be read, as far as it does not show that itself.
        instrument: supplies calendar, zone and tick, if it is known.

    Raises:
        UnreadableError: the file cannot be read at all.
        UsageError: what the file means is known only when more is said; names the option.
        DataError: the data break rules.
        FeatureError: a feature depends on later bars.
    """
    stage("bars")
    reading = read_interpreted(Path(path), options, instrument, bar_seconds=bar_seconds)
    stage("check for look-ahead")
    check_causality(reading.bars)
    return reading


def data_sources(
    data: tuple[Path, ...],
    instruments: tuple[str, ...] = (),
    synergies: str = DETECT,
    choose: Callable[[str | None, Path], Instrument] = instrument_for,
    options: ReadOptions = AS_FOUND,
) -> list[DataSource]:
    """Return what ``--data``, ``--instrument`` and ``--synergies`` name.

    Args:
        data: files of bars.
        instruments: names as given by the user, one per file or none.
        synergies: ``detect``, ``none`` or the path of a file of events.
        choose: returns the instrument of a file, from its name (or None) and the file.
        options: how all of the files are to be read.

    Raises:
        UsageError: another number of instruments than of files, or one file of events for several
            files of bars.
        ConfigError: an unknown instrument, or none that can be inferred.
        UnreadableError: an instrument's file cannot be read.
    """
    if instruments and len(instruments) != len(data):
        raise UsageError(
            f"give one --instrument per --data or none, found {len(instruments)} and {len(data)}"
        )
    if len(data) > 1 and synergies not in (DETECT, NONE):
        raise UsageError("--synergies FILE goes with one --data, because events name no symbol")
    names: tuple[str | None, ...] = instruments or (None,) * len(data)
    return [
        DataSource(path, choose(name, path), synergies, options=options)
        for path, name in zip(data, names, strict=True)
    ]

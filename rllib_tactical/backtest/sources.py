"""Which instrument each file of bars is of, and what its folder is called."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.dataset import DataSource, data_sources
from rllib_tactical.data.instruments import instrument_for, load_instrument, symbol_from_file_name
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.sizing import BundleSize
from rllib_tactical.data.synergy_events import DETECT, NONE, OF_FILE
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """One file of bars. ``name`` is unique among files; ``note`` tells of a mismatch, if any."""

    name: str
    data: DataSource
    note: str | None = None

    @property
    def instrument(self) -> Instrument:
        """What the bars are of; it may have no base quantity yet."""
        return self.data.instrument


def sources_for(
    data: tuple[Path, ...],
    instruments: tuple[str, ...],
    bundle: Bundle | None,
    synergies: str | None = None,
    options: ReadOptions = AS_FOUND,
) -> list[Source]:
    """Return the sources of a backtest.

    A bundle sizes its own symbol, also where the user's instrument describes it.

    Args:
        data: files of bars.
        instruments: names as given by the user, one per file or none.
        bundle: whose instrument counts where none is named; None for a built-in policy.
        synergies: ``detect``, ``none`` or the path of a file of events; None: those of the bundle,
            detected for a built-in policy.
        options: how the files are to be read.

    Raises:
        UsageError: another number of instruments than of files, a file given twice, one file of
            events for several files of bars, a file whose name tells of another instrument than
            the bundle's while none was named, or no synergies given for a bundle that was trained
            with a file of events.
        ConfigError: an unknown instrument, or none that can be inferred.
        UnreadableError: an instrument's file cannot be read.
    """
    choose = instrument_for if bundle is None else partial(_instrument, bundle)
    found = data_sources(data, instruments, synergies or _bundle_synergies(bundle), choose, options)
    if len({path.absolute() for path in data}) < len(data):
        raise UsageError("--data: a file is given twice")
    sources: list[Source] = []
    for source in found:
        note = None
        symbol = source.instrument.symbol
        if bundle is not None and symbol == bundle.instrument.symbol:
            source = replace(source, size_from=bundle_size(bundle))
        elif bundle is not None:
            note = f"The bundle decides for {bundle.instrument.symbol} and trades {symbol} here."
        taken = {each.name for each in sources}
        sources.append(Source(_unique(symbol, taken), source, note))
    return sources


def bundle_size(bundle: Bundle) -> BundleSize:
    """Return the size that a bundle gives to its symbol, with what the bundle knows of it."""
    return BundleSize(bundle.instrument.base_quantity or 0.0, bundle.bundle_id, bundle.size_from)


def _bundle_synergies(bundle: Bundle | None) -> str:
    """Return ``detect`` or ``none``, as the bundle was trained."""
    if bundle is None:
        return DETECT
    if bundle.synergies == OF_FILE:
        raise UsageError(
            "--synergies is needed: the bundle was trained with a file of events; give the file of "
            f"these bars, {DETECT} or {NONE}"
        )
    return bundle.synergies


def _instrument(bundle: Bundle, named: str | None, path: Path) -> Instrument:
    if named is not None:
        return load_instrument(named)
    own, told = bundle.instrument, symbol_from_file_name(path)
    if told not in (None, own.symbol.upper()):
        raise UsageError(
            f"--instrument is needed: the bundle decides for {own.symbol}, and {path.name} is "
            f"named for {told}; costs and sessions of one do not fit the other"
        )
    return own


def _unique(symbol: str, taken: set[str]) -> str:
    plain = re.sub(r"[^\w.-]", "_", symbol)  # it names a folder
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name

"""Which instrument each file of bars is of, and what its folder is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.instruments import instrument_for, load_instrument, symbol_from_file_name
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """One file of bars. ``name`` is unique among files; ``note`` tells of a mismatch, if any."""

    name: str
    path: Path
    instrument: Instrument
    note: str | None = None


def sources_for(
    data: tuple[Path, ...], instruments: tuple[str, ...], bundle: Bundle | None
) -> list[Source]:
    """Return the sources of a backtest.

    Args:
        data: files of bars.
        instruments: names as given by the user, one per file or none.
        bundle: whose instrument counts where none is named; None for a built-in policy.

    Raises:
        UsageError: another number of instruments than of files, a file given twice, or a file
            whose name tells of another instrument than the bundle's while none was named.
        ConfigError: an unknown instrument, or none that can be told.
        UnreadableError: an instrument's file cannot be read.
    """
    if instruments and len(instruments) != len(data):
        raise UsageError(
            f"give one --instrument per --data or none, found {len(instruments)} and {len(data)}"
        )
    if len({path.absolute() for path in data}) < len(data):
        raise UsageError("--data: a file is given twice")
    names: list[str | None] = [*instruments] if instruments else [None] * len(data)
    sources: list[Source] = []
    for path, named in zip(data, names, strict=True):
        instrument, note = _instrument(path, named, bundle)
        taken = {source.name for source in sources}
        sources.append(Source(_unique(instrument.symbol, taken), path, instrument, note))
    return sources


def _instrument(
    path: Path, named: str | None, bundle: Bundle | None
) -> tuple[Instrument, str | None]:
    if bundle is None:
        return instrument_for(named, path), None
    own = bundle.instrument
    if named is not None:
        instrument = load_instrument(named)
        if instrument.symbol == own.symbol:
            return instrument, None
        note = f"The bundle decides for {own.symbol} and trades {instrument.symbol} here."
        return instrument, note
    told = symbol_from_file_name(path)
    if told not in (None, own.symbol.upper()):
        raise UsageError(
            f"--instrument is needed: the bundle decides for {own.symbol}, and {path.name} is "
            f"named for {told}; costs and sessions of one do not fit the other"
        )
    return own, None


def _unique(symbol: str, taken: set[str]) -> str:
    plain = re.sub(r"[^\w.-]", "_", symbol)  # it names a folder
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name

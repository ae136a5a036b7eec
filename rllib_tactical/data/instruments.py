"""Instruments: the shipped ones, and those of a user's own YAML files."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.yaml12 import parse_yaml, read_yaml
from rllib_tactical.data.calendar.schedules import require_calendar
from rllib_tactical.data.calendar.sessions import require_timezone
from rllib_tactical.domain.decision.orders import floor_to_lot
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ConfigError, OrderError

DOLLARS_PER_ATR: Final = 100.0


def list_instruments() -> list[str]:
    """Return the names of the shipped instruments, sorted."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _folder().iterdir()
        if file.name.endswith(".yaml")
    )


def load_instrument(name_or_path: str | os.PathLike[str]) -> Instrument:
    """Return a shipped instrument by its name (in any case), or the one of a YAML file.

    Whatever holds a path separator or ends in .yaml or .yml is a file.

    Raises:
        ConfigError: no such instrument, an unknown or ill-typed key, a value out of its range, or
            an unknown calendar or time zone; the message names the field.
        UnreadableError: the file cannot be read, is not YAML, or has a key twice.
    """
    text = os.fspath(name_or_path)
    if text.lower().endswith((".yaml", ".yml")) or os.sep in text:
        return _instrument(read_yaml(Path(text)), text)
    names = {name.upper(): name for name in list_instruments()}
    if text.upper() not in names:
        raise ConfigError(
            f"instrument: found {text!r}, expected one of {', '.join(names.values())} "
            "or the path of a .yaml file"
        )
    return _shipped(names[text.upper()])


def instrument_for(name_or_path: str | None, data: Path) -> Instrument:
    """Return the instrument named by the user, else the shipped one the data file is named for.

    ``TQQQ_5m.csv.gz`` is of TQQQ: the file's name up to the first ``_``, ``-`` or ``.`` counts.

    Raises:
        ConfigError: as of ``load_instrument``; also when nothing is named and the file's name does
            not tell: costs and sessions must not be guessed.
        UnreadableError: the instrument's file cannot be read.
    """
    if name_or_path is not None:
        return load_instrument(name_or_path)
    symbol = symbol_from_file_name(data)
    if symbol is not None:
        return load_instrument(symbol)
    raise ConfigError(
        f"--instrument is needed: cannot infer the instrument from the file name {data.name}. "
        f"Shipped are {', '.join(list_instruments())}; or give the path of a .yaml file"
    )


def instrument_named(name_or_path: str | None, data: Path) -> Instrument | None:
    """Return the instrument of ``instrument_for``, or None where nothing names one.

    Raises:
        ConfigError: as of ``load_instrument``.
        UnreadableError: the instrument's file cannot be read.
    """
    name = name_or_path if name_or_path is not None else symbol_from_file_name(data)
    return None if name is None else load_instrument(name)


def symbol_from_file_name(data: Path) -> str | None:
    """Return the shipped instrument that a data file is named for, in capitals, if any."""
    symbol = re.split(r"[_.-]", data.name)[0].upper()
    return symbol if symbol in {name.upper() for name in list_instruments()} else None


def resolve_base_quantity(instrument: Instrument, mean_atr: float) -> Instrument:
    """Return ``instrument`` with a base quantity, sizing one ATR at about $100 if it has none.

    ``mean_atr`` is in points. The size is rounded down to the lot step, but is one step at least.

    Raises:
        OrderError: ``mean_atr`` is needed and is not a finite number above zero.
    """
    if instrument.base_quantity is not None:
        return instrument
    if not (math.isfinite(mean_atr) and mean_atr > 0):
        raise OrderError(
            f"instrument {instrument.symbol}: sizing by ATR needs a mean ATR > 0, found {mean_atr}"
        )
    lots = np.array([DOLLARS_PER_ATR / (mean_atr * instrument.point_value)])
    quantity = max(float(floor_to_lot(lots, instrument.lot_step)[0]), instrument.lot_step)
    return dataclasses.replace(instrument, base_quantity=quantity)


@lru_cache(maxsize=32)
def _shipped(name: str) -> Instrument:
    return _instrument(parse_yaml((_folder() / f"{name}.yaml").read_text("utf-8"), name), name)


def _folder() -> Any:
    return resources.files("rllib_tactical.data") / "instruments"


def _instrument(values: Any, source: str) -> Instrument:
    instrument = from_dict(Instrument, values, f"instrument {source}")
    require_calendar(instrument.calendar)
    require_timezone(instrument.timezone)
    return instrument

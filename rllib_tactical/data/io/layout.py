"""How a file of bars is laid out: which columns hold what, and how their cells are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rllib_tactical.data.io.dates import DatePattern

DATE: Final = "date"
TIME: Final = "time"
"""The two columns of a file whose times are in two columns, instead of ``timestamp``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerals:
    """How numbers are written: the decimal sign, and the sign between thousands if there is one."""

    decimal: str = "."
    thousands: str = ""

    @property
    def plain(self) -> bool:
        """Whether cells can be read as they are."""
        return self.decimal == "." and not self.thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each needed column of a file is, and how its cells are to be read.

    ``positions`` gives the place of each of the roles ``timestamp`` (or ``date`` and ``time``),
    ``open``, ``high``, ``low``, ``close``, ``volume``, or ``timestamp``, ``price``, ``size`` of
    ticks. ``required`` are the columns that the table must give, ``missing`` those of them that the
    file lacks and ``repeated`` those that it has more than once.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    positions: dict[str, int]
    missing: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    format: str | None = None
    header_rows: int = 1
    dates: DatePattern | None = None
    midnight_micros: int | None = None
    """UTC epoch microseconds of the day whose milliseconds the times count, None otherwise."""
    local_epoch: bool = False
    """Whether times given as numbers count local seconds, so that they name no zone."""
    numerals: Numerals = Numerals()
    scale: float = 1.0
    zero_volume: bool = False
    zone: str | None = None
    """Zone of times that name none, by the format or by the column's name."""
    stamp: str | None = None
    symbol_position: int | None = None
    symbol: str | None = None
    """The symbol whose rows or columns are taken, None for all."""

    @property
    def columns(self) -> dict[str, str]:
        """The file's name of each column that is read."""
        return {role: self.names[position] for role, position in self.positions.items()}

"""What a user says about a file of bars: everything else is recognized, assumed or refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.data.io.layout import DATE, TIME
from rllib_tactical.data.io.parse import BAR_COLUMNS, TICK_COLUMNS
from rllib_tactical.errors import UsageError

SYMBOL: Final = "symbol"
ROLES: Final = (*dict.fromkeys((*BAR_COLUMNS, *TICK_COLUMNS, DATE, TIME, SYMBOL)),)
NO_COLUMN: Final = "none"

Stamp = Literal["open", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a user says about a file; None is for what was not said.

    ``format`` names an entry of the table of formats. ``columns`` is ``open=O,timestamp=t`` (names
    in the header) or ``timestamp,open,...`` (the columns of a file without header, in order).
    ``tz`` is the zone of times that name none, ``stamp`` says whether times are those at which bars
    open or close, ``symbol`` which rows are meant where there are several symbols. ``session`` is
    ``regular`` to drop bars outside of the calendar's sessions. ``decimal`` is the decimal sign,
    ``price_scale`` is what prices are multiplied by, ``day_first`` tells the day from the month.

    Raises:
        UsageError: a value that none of these can have.
    """

    format: str | None = None
    columns: str | None = None
    tz: str | None = None
    stamp: Stamp | None = None
    symbol: str | None = None
    session: Literal["regular"] | None = None
    decimal: Literal[".", ","] | None = None
    price_scale: float | None = None
    day_first: bool | None = None

    def __post_init__(self) -> None:
        self.column_names()
        self.header_names()
        if self.tz is not None:
            Zone.parse(self.tz)
        if self.price_scale is not None and not 0 < self.price_scale < float("inf"):
            raise UsageError(f"--price-scale must be finite and > 0, found {self.price_scale}")

    def given(self) -> dict[str, Any]:
        """Return what was said, by the name of its option."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def column_names(self) -> dict[str, str]:
        """Return the name in the header of each column that ``columns`` maps.

        Raises:
            UsageError: a part without a name, or a column that nothing reads.
        """
        if self.columns is None or "=" not in self.columns:
            return {}
        names: dict[str, str] = {}
        for part in self.columns.split(","):
            role, _, name = part.partition("=")
            role = role.strip().lower()
            if role not in ROLES or not name.strip() or role in names:
                raise UsageError(
                    f"--columns: found {part!r}, expected NAME=COLUMN once each, with a NAME of "
                    f"{', '.join(ROLES)}"
                )
            names[role] = name.strip()
        return names

    def header_names(self) -> tuple[str, ...]:
        """Return the columns that ``columns`` lists for a file without header, none if it maps.

        Raises:
            UsageError: a name twice, or neither ``timestamp`` nor ``date`` among them.
        """
        if self.columns is None or "=" in self.columns:
            return ()
        names = tuple(name.strip().lower() for name in self.columns.split(","))
        known = [name for name in names if name in ROLES]
        if len(set(known)) < len(known) or not {"timestamp", DATE} & set(known):
            raise UsageError(
                f"--columns: found {self.columns!r}, expected NAME=COLUMN pairs, or the columns of "
                "a file without header in order, such as timestamp,open,high,low,close,volume"
            )
        return names


AS_FOUND: Final = ReadOptions()
"""Nothing is said: a file is read as it shows itself."""

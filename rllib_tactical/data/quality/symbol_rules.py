"""What a file says it is of, against its instrument."""

from __future__ import annotations

import re
from typing import Final

from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.quality.findings import Collector
from rllib_tactical.domain.types import Instrument

# ESZ4, ESZ2024, ES=F, ES1!, ES.c.0, ES 12-24: a contract, or a series of them, of the root ES.
_CONTRACT: Final = re.compile(r"[FGHJKMNQUVXZ]\d{1,4}|=F|\d!|#.*|\.[CNV]\.\d+|[ _-]?\d\d-\d\d")


def check_symbol(columns: Columns, instrument: Instrument, collector: Collector) -> None:
    """Add a warning where the file names another symbol than that of its instrument."""
    for symbol in columns.symbols[:1]:
        if not is_of(symbol, instrument.symbol):
            collector.add_file(
                "other_symbol",
                f"the file says that it is of {symbol}, the instrument is {instrument.symbol}",
            )


def is_of(found: str, symbol: str) -> bool:
    """Return whether a file's name of what is traded may be that of the instrument ``symbol``.

    Signs between letters do not count (BTC/USDT is BTCUSDT), nor do a venue (``NASDAQ:TQQQ``,
    ``TQQQ.US``) and the contract of a future (``ESZ4`` is ES). A number, such as an instrument's id
    at a vendor, names nothing.
    """
    wanted = _letters(symbol)
    names = [name.strip().upper() for name in (found, *found.split(":"), found.split(".")[0])]
    return any(
        name.isdigit()
        or _letters(name) == wanted
        or (name.startswith(wanted) and _CONTRACT.fullmatch(name[len(wanted) :]) is not None)
        for name in names
    )


def _letters(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())

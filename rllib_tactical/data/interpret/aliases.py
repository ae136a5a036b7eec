"""Names that exports give to the columns of bars, for each column the preferred one first."""

from __future__ import annotations

import re
from typing import Final

ALIASES: Final = {
    "timestamp": (
        "timestamp",
        "timestamp_utc",
        "datetime_utc",
        "time_utc",
        "gmt time",
        "time (utc)",
        "time (gmt)",
        "ts_event",
        "unix",
        "unix_timestamp",
        "unix timestamp",
        "unixtime",
        "epoch",
        "open_time",
        "open time",
        "opentime",
        "datetime",
        "date_time",
        "date time",
        "date/time",
        "local time",
        "time (eet)",
        "ts",
        "time",
        "date",
    ),
    "open": ("open", "o", "open price", "open_price", "1. open"),
    "high": ("high", "h", "high price", "high_price", "2. high"),
    "low": ("low", "l", "low price", "low_price", "3. low"),
    "close": ("close", "c", "close price", "close_price", "4. close", "last"),
    "volume": ("volume", "vol", "v", "tickvol", "tick_volume", "tick volume", "5. volume"),
    "price": ("price",),
    "size": ("size", "qty", "quantity", "amount"),
    "symbol": ("symbol", "ticker", "tic", "instrument", "pair", "contract"),
}
_UTC: Final = ("timestamp_utc", "datetime_utc", "time_utc", "gmt time", "time (utc)", "time (gmt)")


def zone_of_column(name: str) -> str | None:
    """Return the zone that a column's name states, such as that of ``Time (EET)``."""
    if name in _UTC:
        return "UTC"
    match = re.fullmatch(r"time \(([a-z]{3,4})\)", name)
    return match[1].upper() if match is not None else None


def base_volume(names: tuple[str, ...], symbol: str | None) -> int | None:
    """Return which ``Volume BTC`` counts the symbol's own units, where there are several.

    ``BTC/USDT`` begins with the unit in which its quantity is counted.
    """
    units = {at: name[7:].strip() for at, name in enumerate(names) if name.startswith("volume ")}
    if symbol is None:
        return None
    fitting = [at for at, unit in units.items() if unit and symbol.lower().startswith(unit)]
    return fitting[0] if len(fitting) == 1 else None

"""The table of formats: how each source lays out its files of bars.

An entry says what is fixed about a source's files. What a file shows by itself (the names of its
columns in any case and order, epoch units, zones written in the cells) needs no entry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_OHLC: Final = ("open", "high", "low", "close")
_BARS: Final = ("timestamp", *_OHLC, "volume")
_SPLIT: Final = ("date", "time", *_OHLC, "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The files of one source.

    ``header`` holds names (lower case, without ``<>``) of which a file of the source has all of at
    least one group; ``first_row`` is what the first row of a file without header matches, cells
    joined by tabs, and ``names`` are then its columns. ``columns`` prefers names of columns where a
    file has several that would do. ``zone`` is that of times that name none; None where the files
    do not show it, ``exchange`` for the instrument's. ``certain`` says whether a file that fits is
    known to be of this source without being named so.
    """

    name: str
    title: str
    header: tuple[frozenset[str], ...] = ()
    first_row: str | None = None
    names: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    zone: str | None = None
    local_epoch: bool = False
    stamp: str = "open"
    scale_of_whole_prices: float = 1.0
    day_first: bool = False
    certain: bool = True
    zone_note: str = ""
    example: str = ""

    def fits(self, names: Sequence[str], first_row: Sequence[str], has_header: bool) -> bool:
        """Return whether a file with these column names (normalized) and first row may be one."""
        if has_header:
            return any(group <= set(names) for group in self.header)
        if self.first_row is None:
            return False
        return re.fullmatch(self.first_row, "\t".join(first_row)) is not None

    def describe(self) -> dict[str, Any]:
        """Return the entry as a row of the documented table."""
        return {
            "format": self.name,
            "source": self.title,
            "header": "yes" if self.header else "none",
            "zone": self.zone_note or self.zone or "written in the file",
            "stamp": self.stamp,
            "recognized": "yes" if self.certain else "by --format",
            "example": self.example,
        }


def _group(*names: str) -> frozenset[str]:
    return frozenset(names)


_NUMBER: Final = r"-?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?"
_PRICES: Final = rf"(?:{_NUMBER}\t){{4}}"

FORMATS: Final = {
    entry.name: entry
    for entry in (
        Format(
            name="mt4",
            title="MetaTrader 4, History Center export",
            first_row=rf"\d{{4}}\.\d\d\.\d\d\t\d\d:\d\d\t{_PRICES}{_NUMBER}",
            names=_SPLIT,
            zone_note="the broker's server: --tz",
            example="2024.10.21,13:30,1.0862,1.08631,1.08615,1.08627,67",
        ),
        Format(
            name="mt5",
            title="MetaTrader 5, export of bars or of its Python package",
            header=(
                _group("date", "time", *_OHLC, "tickvol"),
                _group("time", *_OHLC, "tick_volume", "spread", "real_volume"),
            ),
            columns={"volume": ("tickvol", "tick_volume")},
            local_epoch=True,
            zone_note="the broker's server: --tz",
            example="2024.10.21 \\t 13:30:00 \\t 2624.81 \\t ... \\t 124 \\t 0 \\t 43",
        ),
        Format(
            name="tradingview",
            title="TradingView, export of chart data",
            header=(_group("time", *_OHLC),),
            certain=False,
            zone_note="in the cells",
            example="2024-10-21T09:30:00-04:00,583.87,584.19,583.83,583.91,858219",
        ),
        Format(
            name="binance",
            title="Binance, klines of its public data or of its API",
            header=(
                _group("open_time", *_OHLC, "volume", "close_time"),
                _group("open time", *_OHLC, "volume", "close time"),
            ),
            first_row=rf"\d{{13,16}}\t{_PRICES}{_NUMBER}\t\d{{13,16}}\t{_NUMBER}\t\d+(?:\t{_NUMBER}){{2,3}}",
            names=(
                *_BARS,
                "close_time",
                "quote_volume",
                "count",
                "taker_buy_volume",
                "taker_buy_quote_volume",
                "ignore",
            ),
            columns={"timestamp": ("open_time", "open time")},
            zone_note="UTC",
            example="1729517400000,67650.1,67700.0,67620.3,67688.8,341.604,1729517699999,...",
        ),
        Format(
            name="kraken",
            title="Kraken, downloadable OHLCVT",
            first_row=rf"\d{{10}}\t{_PRICES}{_NUMBER}\t\d+",
            names=(*_BARS, "trades"),
            zone_note="UTC",
            example="1729517400,67650.1,67700.0,67620.3,67688.8,0.0318,7",
        ),
        Format(
            name="yfinance",
            title="yfinance, to_csv of a download or of a history",
            header=(
                _group("datetime", *_OHLC, "volume", "dividends", "stock splits"),
                _group("datetime", "price", *_OHLC, "volume"),
                _group("datetime", "adj close", *_OHLC, "volume"),
            ),
            columns={"timestamp": ("datetime",)},
            zone_note="in the cells",
            example="2024-10-21 09:30:00-04:00,583.87,584.19,583.83,583.91,858219,0.0,0.0",
        ),
        Format(
            name="ib",
            title="Interactive Brokers, historical bars of ib_async or the API",
            header=(_group("date", *_OHLC, "volume", "average", "barcount"),),
            columns={"timestamp": ("date",)},
            zone_note="in the file, else the login's: --tz",
            example="20241021 09:30:00 US/Eastern,583.87,584.19,583.83,583.91,858219,584.0,97",
        ),
        Format(
            name="ninjatrader",
            title="NinjaTrader 8, export of minute bars",
            first_row=rf"\d{{8}} \d{{6}}\t{_PRICES}{_NUMBER}",
            names=_BARS,
            zone="UTC",
            stamp="close",
            certain=False,
            example="20241021 133500;4770.25;4772.5;4770;4771.75;1234",
        ),
        Format(
            name="histdata",
            title="HistData, 1-minute bars as generic ASCII or for MetaTrader",
            first_row=(rf"(?:\d{{8}} \d{{6}}|\d{{4}}\.\d\d\.\d\d\t\d\d:\d\d)\t{_PRICES}{_NUMBER}"),
            names=_BARS,
            zone="Etc/GMT+5",
            certain=False,
            zone_note="New York standard time, no summer time",
            example="20241021 083000;1.086200;1.086310;1.086150;1.086270;0",
        ),
        Format(
            name="dukascopy",
            title="Dukascopy, historical data of JForex or its web page",
            header=(
                _group("gmt time", *_OHLC, "volume"),
                _group("local time", *_OHLC, "volume"),
                _group("time (utc)", *_OHLC, "volume"),
                _group("time (eet)", *_OHLC, "volume"),
            ),
            columns={"timestamp": ("gmt time", "local time", "time (utc)", "time (eet)")},
            day_first=True,
            zone_note="in the header or the cells",
            example="21.10.2024 13:30:00.000,1.0862,1.08631,1.08615,1.08627,899.5",
        ),
        Format(
            name="sierra",
            title="Sierra Chart, export of bar or intraday data to text",
            header=(
                _group("date", "time", "open", "high", "low", "last", "volume", "numberoftrades"),
                _group("date", "time", "open", "high", "low", "last", "volume", "# of trades"),
            ),
            columns={"close": ("last",)},
            zone_note="the chart's: --tz",
            example="2024/10/21, 09:30:00, 5850.25, 5852.5, 5850, 5851.75, 1234, 310, 600, 634",
        ),
        Format(
            name="databento",
            title="Databento, OHLCV as CSV or DBN",
            header=(_group("rtype", "publisher_id", "instrument_id", *_OHLC, "volume"),),
            columns={"symbol": ("symbol", "instrument_id")},
            zone_note="UTC",
            scale_of_whole_prices=1e-9,
            example="1729517400000000000,33,1,7,583870000000,584190000000,...,858219,TQQQ",
        ),
        Format(
            name="freqtrade",
            title="freqtrade, candles as JSON or Feather",
            header=(_group("date", *_OHLC, "volume"), _group("0", "1", "2", "3", "4", "5")),
            columns={
                role: (name, str(number))
                for number, (role, name) in enumerate(zip(_BARS, ("date", *_BARS[1:]), strict=True))
            },
            certain=False,
            zone_note="UTC",
            example="[1729517400000, 67650.1, 67700.0, 67620.3, 67688.8, 341.604]",
        ),
        Format(
            name="lean",
            title="QuantConnect Lean, minute trade bars in zip files of a day",
            first_row=rf"(?:\d{{1,8}}|\d{{8}} \d\d:\d\d)\t{_PRICES}{_NUMBER}",
            names=_BARS,
            zone="exchange",
            certain=False,
            zone_note="the exchange's",
            example="34200000,5838700,5841900,5838300,5839100,858219",
        ),
    )
}


def normalized(name: str) -> str:
    """Return a column's name as entries write it: lower case, without brackets and quotes."""
    return " ".join(name.strip().strip("<>[]\"'").lower().split())

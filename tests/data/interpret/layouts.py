"""Files of bars laid out as each source writes them, made from bars that are known.

Nothing here uses the product: rows are formatted one by one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from rllib_tactical.domain.types import Bars

NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
# Two weeks around the end of summer time in the United States, and one week after that in Europe.
DAYS = ("2024-10-24", "2024-10-25", "2024-10-28", "2024-10-31", "2024-11-01", "2024-11-04")


@dataclass(frozen=True)
class Row:
    """One bar as text: times in UTC, prices with two decimals, volume a whole number."""

    time: datetime
    open: str
    high: str
    low: str
    close: str
    volume: str

    @property
    def prices(self) -> tuple[str, str, str, str]:
        return self.open, self.high, self.low, self.close


@dataclass(frozen=True)
class Written:
    """A file in a source's layout, and what must be said to read it."""

    path: Path
    options: dict[str, Any] = field(default_factory=dict)
    recognized: str | None = None


def session_bars(bar_seconds: int = 300, days: Iterable[str] = DAYS) -> Bars:
    """Return whole regular sessions of New York, a random walk on cents."""
    times: list[int] = []
    for day in days:
        opened = datetime.fromisoformat(f"{day} 09:30").replace(tzinfo=NEW_YORK)
        times += range(int(opened.timestamp()), int(opened.timestamp()) + 23_400, bar_seconds)
    rng = np.random.default_rng(7)
    close = np.round(58.0 + np.cumsum(rng.normal(0.0, 0.03, len(times))), 2)
    opened_at = np.round(close + rng.normal(0.0, 0.02, len(times)), 2)
    high = np.round(np.maximum(opened_at, close) + rng.integers(0, 5, len(times)) / 100, 2)
    low = np.round(np.minimum(opened_at, close) - rng.integers(0, 5, len(times)) / 100, 2)
    volume = rng.integers(100, 90_000, len(times)).astype(np.float64)
    return Bars(np.array(times, dtype=np.int64), opened_at, high, low, close, volume)


def rows_of(bars: Bars) -> list[Row]:
    return [
        Row(
            datetime.fromtimestamp(time, UTC),
            f"{opened:.2f}",
            f"{high:.2f}",
            f"{low:.2f}",
            f"{close:.2f}",
            f"{volume:.0f}",
        )
        for time, opened, high, low, close, volume in zip(
            bars.timestamp_s.tolist(),
            bars.open.tolist(),
            bars.high.tolist(),
            bars.low.tolist(),
            bars.close.tolist(),
            bars.volume.tolist(),
            strict=True,
        )
    ]


def write_lines(path: Path, lines: Iterable[str], end: str = "\n", encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding))
    return path


def server(time: datetime) -> datetime:
    """Return the clock of a broker whose day ends with New York's."""
    return time.astimezone(NEW_YORK).replace(tzinfo=None) + timedelta(hours=7)


def mt4(bars: Bars, folder: Path) -> Written:
    lines = (
        f"{server(r.time):%Y.%m.%d,%H:%M},{','.join(r.prices)},{r.volume}" for r in rows_of(bars)
    )
    path = write_lines(folder / "TQQQ5.csv", lines, "\r\n")
    return Written(path, {"tz": "America/New_York+7"}, "mt4")


def mt5(bars: Bars, folder: Path) -> Written:
    head = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    lines = [
        "\t".join((f"{server(r.time):%Y.%m.%d\t%H:%M:%S}", *r.prices, r.volume, "0", "43"))
        for r in rows_of(bars)
    ]
    path = write_lines(folder / "TQQQ_M5.csv", [head, *lines], "\r\n")
    return Written(path, {"tz": "America/New_York+7"}, "mt5")


def mt5_utf16(bars: Bars, folder: Path) -> Written:
    written = mt5(bars, folder)
    text = written.path.read_text(encoding="utf-8")
    written.path.write_bytes(text.encode("utf-16"))
    return written


def mt5_python(bars: Bars, folder: Path) -> Written:
    lines = [",time,open,high,low,close,tick_volume,spread,real_volume"]
    for at, r in enumerate(rows_of(bars)):
        local = int(server(r.time).replace(tzinfo=UTC).timestamp())
        lines.append(f"{at},{local},{','.join(r.prices)},{r.volume},5,0")
    path = write_lines(folder / "TQQQ_rates.csv", lines)
    return Written(path, {"tz": "America/New_York+7"}, "mt5")


def tradingview(bars: Bars, folder: Path) -> Written:
    lines = ["time,open,high,low,close,Volume,Volume MA"]
    for r in rows_of(bars):
        local = r.time.astimezone(NEW_YORK).isoformat()
        lines.append(f"{local},{','.join(r.prices)},{r.volume},1234.5")
    return Written(write_lines(folder / "TQQQ, 5.csv", lines), {"format": "tradingview"})


def tradingview_epoch(bars: Bars, folder: Path) -> Written:
    lines = ["time,open,high,low,close,Volume"]
    lines += [f"{r.time.timestamp():.0f},{','.join(r.prices)},{r.volume}" for r in rows_of(bars)]
    return Written(write_lines(folder / "BATS_TQQQ, 5.csv", lines))


def _klines(bars: Bars, unit: int) -> list[str]:
    lines = []
    for r in rows_of(bars):
        begin = int(r.time.timestamp()) * unit
        end = begin + 300 * unit - 1
        lines.append(f"{begin},{','.join(r.prices)},{r.volume},{end},1234.5,97,12.5,617.25,0")
    return lines


def binance(bars: Bars, folder: Path) -> Written:
    head = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore"
    )
    path = write_lines(folder / "TQQQ-5m-2024-10.csv", [head, *_klines(bars, 1_000)])
    return Written(path, {}, "binance")


def binance_spot(bars: Bars, folder: Path) -> Written:
    path = folder / "TQQQ-5m-2025-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = "".join(f"{line}\n" for line in _klines(bars, 1_000_000))
        archive.writestr("TQQQ-5m-2025-01.csv", text)
    return Written(path, {}, "binance")


def kraken(bars: Bars, folder: Path) -> Written:
    lines = (f"{r.time.timestamp():.0f},{','.join(r.prices)},{r.volume},7" for r in rows_of(bars))
    return Written(write_lines(folder / "TQQQ_5.csv", lines), {}, "kraken")


def yfinance(bars: Bars, folder: Path) -> Written:
    lines = ["Datetime,Open,High,Low,Close,Volume,Dividends,Stock Splits"]
    for r in rows_of(bars):
        local = r.time.astimezone(NEW_YORK).isoformat(sep=" ")
        lines.append(f"{local},{','.join(r.prices)},{r.volume},0.0,0.0")
    return Written(write_lines(folder / "TQQQ.csv", lines), {}, "yfinance")


def yfinance_tickers(bars: Bars, folder: Path) -> Written:
    lines = [
        "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume",
        "Ticker,QQQ,TQQQ,QQQ,TQQQ,QQQ,TQQQ,QQQ,TQQQ,QQQ,TQQQ",
        f"Datetime{',' * 10}",
    ]
    for r in rows_of(bars):
        cells = (f"500.0,{cell}" for cell in (r.close, r.high, r.low, r.open, r.volume))
        lines.append(f"{r.time.isoformat(sep=' ')},{','.join(cells)}")
    return Written(write_lines(folder / "TQQQ_two.csv", lines), {"symbol": "TQQQ"}, "yfinance")


def ib(bars: Bars, folder: Path) -> Written:
    lines = [",date,open,high,low,close,volume,average,barCount"]
    for at, r in enumerate(rows_of(bars)):
        local = f"{r.time.astimezone(NEW_YORK):%Y%m%d  %H:%M:%S}"
        lines.append(f"{at},{local} US/Eastern,{','.join(r.prices)},{r.volume},58.1,97")
    return Written(write_lines(folder / "TQQQ_ib.csv", lines), {}, "ib")


def ninjatrader(bars: Bars, folder: Path) -> Written:
    lines = (
        f"{r.time + timedelta(minutes=5):%Y%m%d %H%M%S};{';'.join(r.prices)};{r.volume}"
        for r in rows_of(bars)
    )
    path = write_lines(folder / "TQQQ.Last.txt", lines, "\r\n")
    return Written(path, {"format": "ninjatrader"})


def histdata(bars: Bars, folder: Path) -> Written:
    lines = (
        f"{r.time - timedelta(hours=5):%Y%m%d %H%M%S};{';'.join(r.prices)};{r.volume}"
        for r in rows_of(bars)
    )
    path = write_lines(folder / "TQQQ_DAT_ASCII_M5.csv", lines)
    return Written(path, {"format": "histdata"})


def dukascopy(bars: Bars, folder: Path) -> Written:
    lines = ["Gmt time,Open,High,Low,Close,Volume"]
    lines += [
        f"{r.time:%d.%m.%Y %H:%M:%S.000},{','.join(r.prices)},{r.volume}" for r in rows_of(bars)
    ]
    return Written(write_lines(folder / "TQQQ_Candlestick.csv", lines), {}, "dukascopy")


def dukascopy_local(bars: Bars, folder: Path) -> Written:
    lines = ["Local time,Open,High,Low,Close,Volume"]
    for r in rows_of(bars):
        local = r.time.astimezone(BERLIN)
        lines.append(f"{local:%d.%m.%Y %H:%M:%S.000 GMT%z},{','.join(r.prices)},{r.volume}")
    return Written(write_lines(folder / "TQQQ_Candlestick.csv", lines), {}, "dukascopy")


def sierra(bars: Bars, folder: Path) -> Written:
    lines = ["Date, Time, Open, High, Low, Last, Volume, NumberOfTrades, BidVolume, AskVolume"]
    for r in rows_of(bars):
        t = r.time.astimezone(NEW_YORK)
        cells = (f"{t.year}/{t.month}/{t.day}", f"{t:%H:%M:%S}", *r.prices, r.volume, "9", "4", "5")
        lines.append(", ".join(cells))
    path = write_lines(folder / "TQQQ.scid_BarData.txt", lines, "\r\n")
    return Written(path, {"tz": "America/New_York"}, "sierra")


def databento(bars: Bars, folder: Path) -> Written:
    lines = ["ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"]
    for r in rows_of(bars):
        prices = (str(round(float(price) * 100) * 10_000_000) for price in r.prices)
        stamp = f"{int(r.time.timestamp())}000000000"
        lines.append(f"{stamp},33,1,7,{','.join(prices)},{r.volume},TQQQ")
    return Written(write_lines(folder / "TQQQ.ohlcv-5m.csv", lines), {}, "databento")


def freqtrade(bars: Bars, folder: Path) -> Written:
    rows = [
        [int(r.time.timestamp()) * 1000, *map(float, r.prices), float(r.volume)]
        for r in rows_of(bars)
    ]
    path = folder / "TQQQ_USD-5m.json"
    path.write_text(json.dumps(rows))
    return Written(path, {}, "freqtrade")


def freqtrade_feather(bars: Bars, folder: Path) -> Written:
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(bars.timestamp_s, unit="s", utc=True).astype(
                "datetime64[ms, UTC]"
            ),
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "volume": bars.volume,
        }
    )
    path = folder / "TQQQ_USD-5m.feather"
    frame.to_feather(path, compression="lz4")
    return Written(path, {"format": "freqtrade"})


def lean(bars: Bars, folder: Path) -> Written:
    home = folder / "equity" / "usa" / "minute" / "tqqq"
    home.mkdir(parents=True)
    days: dict[str, list[str]] = {}
    for r in rows_of(bars):
        local = r.time.astimezone(NEW_YORK)
        since = (local.hour * 3600 + local.minute * 60) * 1000
        prices = (str(round(float(price) * 10_000)) for price in r.prices)
        days.setdefault(f"{local:%Y%m%d}", []).append(f"{since},{','.join(prices)},{r.volume}\n")
    for day, lines in days.items():
        with zipfile.ZipFile(home / f"{day}_trade.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{day}_tqqq_minute_trade.csv", "".join(lines))
    return Written(home, {}, "lean")


LAYOUTS: dict[str, Callable[[Bars, Path], Written]] = {
    made.__name__: made
    for made in (
        mt4,
        mt5,
        mt5_utf16,
        mt5_python,
        tradingview,
        tradingview_epoch,
        binance,
        binance_spot,
        kraken,
        yfinance,
        yfinance_tickers,
        ib,
        ninjatrader,
        histdata,
        dukascopy,
        dukascopy_local,
        sierra,
        databento,
        freqtrade,
        freqtrade_feather,
        lean,
    )
}

"""The table of formats, and the page that shows a command for each of its sources.

Write the page's table anew after an entry has changed:

    TACTICAL_WRITE_DOCS=1 python -m pytest tests/data/interpret/test_formats.py
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import read_bars
from rllib_tactical.data.interpret.aliases import ALIASES
from rllib_tactical.data.interpret.formats import FORMATS, normalized
from rllib_tactical.domain.types import Bars
from tests.data.corrupted import markdown
from tests.data.interpret.layouts import LAYOUTS, NEW_YORK, Row, rows_of, session_bars, write_lines
from tests.data.interpret.test_layouts import assert_same
from tests.data.io.test_dbn import MINUTES, dbn_bytes

KRAKEN = ("1729517400", "67650.1", "67700.0", "67620.3", "67688.8", "0.0318", "7")
TRUTH = session_bars()
MARK = "<!-- formats -->\n\n{}\n<!-- end of formats -->"


def _layout(name: str) -> Callable[[Path], Bars]:
    def write(path: Path) -> Bars:
        folder = path.parent / "made"
        folder.mkdir()
        made = LAYOUTS[name](TRUTH, folder).path
        if made.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        made.rename(path)
        return TRUTH

    return write


def _rows(header: str | None, time: str) -> Callable[[Path], Bars]:
    def line(row: Row) -> str:
        return f"{row.time.strftime(time)},{','.join(row.prices)},{row.volume}"

    def write(path: Path) -> Bars:
        write_lines(path, ([header] if header else []) + [line(row) for row in rows_of(TRUTH)])
        return TRUTH

    return write


def _dbn(path: Path) -> Bars:
    path.write_bytes(pytest.importorskip("zstandard").compress(dbn_bytes(MINUTES)))
    return five_minutes(MINUTES)


def five_minutes(bars: Bars) -> Bars:
    opened, high, low, close = (
        getattr(bars, name).reshape(-1, 5) for name in ("open", "high", "low", "close")
    )
    return Bars(
        bars.timestamp_s[::5],
        opened[:, 0],
        high.max(axis=1),
        low.min(axis=1),
        close[:, -1],
        bars.volume.reshape(-1, 5).sum(axis=1),
    )


# The files that the page's commands name, and what writes them.
FILES: dict[str, Callable[[Path], Bars]] = {
    "EURUSD5.csv": _layout("mt4"),
    "EURUSD_M5.csv": _layout("mt5_utf16"),
    "EURUSD_rates.csv": _layout("mt5_python"),
    "NASDAQ_TQQQ, 5.csv": _layout("tradingview"),
    "BTCUSDT-5m-2024-10.zip": _layout("binance_spot"),
    "XBTUSD_5.csv": _layout("kraken"),
    "TQQQ.csv": _layout("yfinance"),
    "tickers.csv": _layout("yfinance_tickers"),
    "TQQQ_ib.csv": _layout("ib"),
    "ES 12-24.Last.txt": _layout("ninjatrader"),
    "DAT_ASCII_EURUSD_M1_202410.csv": _layout("histdata"),
    "EURUSD_Candlestick_5_M_BID.csv": _layout("dukascopy"),
    "ESZ24.scid_BarData.txt": _layout("sierra"),
    "xnas-itch-20241024.ohlcv-1m.csv": _layout("databento"),
    "xnas-itch-20241024.ohlcv-1m.dbn.zst": _dbn,
    "BTC_USDT-5m.json": _layout("freqtrade"),
    "BTC_USDT-5m.feather": _layout("freqtrade_feather"),
    "equity/usa/minute/tqqq": _layout("lean"),
    "mapped.csv": _rows("T,O,H,L,C,V", "%Y-%m-%d %H:%M"),
    "bare.csv": _rows(None, "%Y-%m-%d %H:%M"),
}


def commands(project_root: Path, begin: str) -> list[list[str]]:
    """Return the page's commands that begin so, split into words."""
    page = (project_root / "docs/howto/bring-your-own-data.md").read_text(encoding="utf-8")
    lines = re.findall(rf"^    tactical ({begin} .+)$", page, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.run(arguments)
    return int(stop.value.code or 0)


def test_the_page_has_a_command_for_every_source(project_root: Path) -> None:
    named = [words[2] for words in commands(project_root, "data import")]
    assert sorted(named) == sorted([*FILES, "downloads/TQQQ.csv"])
    page = (project_root / "docs/howto/bring-your-own-data.md").read_text(encoding="utf-8")
    table = [entry.describe() for entry in FORMATS.values()]
    shown = MARK.format(markdown(tuple(table[0]), (tuple(map(str, r.values())) for r in table)))
    if os.environ.get("TACTICAL_WRITE_DOCS"):
        before, after = page.split("<!-- formats -->")[0], page.split("<!-- end of formats -->")[1]
        (project_root / "docs/howto/bring-your-own-data.md").write_text(
            before + shown + after, encoding="utf-8"
        )
    else:
        assert shown in page


@pytest.mark.parametrize("name", FILES)
def test_the_command_of_the_page_gives_the_truth(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    truth = FILES[name](path)
    (words,) = (each for each in commands(project_root, "data import") if each[2] == name)
    assert run(words) == 0
    out = Path(words[words.index("--out") + 1])
    assert_same(read_bars(out), truth)
    assert run(["data", "check", str(out)]) == 0


@pytest.mark.slow
def test_from_a_file_to_a_verdict(
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("downloads").mkdir()
    rows = [
        f"{row.time.astimezone(NEW_YORK):%Y-%m-%d %H:%M},{','.join(row.prices)},{row.volume}"
        for row in rows_of(TRUTH)
    ]
    write_lines(Path("downloads/TQQQ.csv"), ["Date,Open,High,Low,Close,Volume", *rows])
    (imported,) = (w for w in commands(project_root, "data import") if "downloads/" in w[2])
    for words in (
        *commands(project_root, "data list"),
        imported,
        *commands(project_root, "data check"),
        *commands(project_root, "backtest --policy"),
    ):
        assert run(words) == 0, words
    out = capsys.readouterr().out
    assert "1 refused" in out
    assert Path("runs/rules/report.html").is_file()
    assert "Report: runs/rules/report.html" in out


def test_a_file_without_header_fits_by_its_first_row() -> None:
    fitting = [name for name, entry in FORMATS.items() if entry.fits((), KRAKEN, False)]
    assert fitting == ["kraken"]
    assert not FORMATS["kraken"].fits((), KRAKEN[:-1], False)
    assert not FORMATS["kraken"].fits((), KRAKEN, True)  # its files have no header
    assert not FORMATS["mt5"].fits((), KRAKEN, False)  # its files have one


def test_a_file_with_a_header_fits_by_one_group_of_names() -> None:
    names = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
    assert FORMATS["mt5"].fits(names, KRAKEN, True)
    assert FORMATS["mt5"].fits((*names[::-1], "more"), (), True)
    assert not FORMATS["mt5"].fits(names[:-1], (), True)


@pytest.mark.parametrize(
    ("written", "name"),
    [("<DATE>", "date"), (' "Open  Time" ', "open time"), ("[Close]", "close"), ("ts", "ts")],
)
def test_names_are_compared_without_case_brackets_and_quotes(written: str, name: str) -> None:
    assert normalized(written) == name


def test_names_in_entries_are_normalized_and_of_known_columns() -> None:
    for entry in FORMATS.values():
        for names in (*entry.header, entry.names, *entry.columns.values()):
            assert all(name == normalized(name) for name in names)
        assert set(entry.columns) <= set(ALIASES)


def test_an_entry_is_described_by_what_a_user_must_know() -> None:
    row = FORMATS["ninjatrader"].describe()
    assert (row["format"], row["header"], row["zone"]) == ("ninjatrader", "none", "UTC")
    assert (row["stamp"], row["recognized"]) == ("close", "by --format")
    assert FORMATS["ib"].describe()["zone"] == "in the file, else the login's: --tz"
    assert FORMATS["databento"].describe()["recognized"] == "yes"


def test_an_entry_fits_by_its_header_or_its_first_row() -> None:
    kraken, mt5 = FORMATS["kraken"], FORMATS["mt5"]
    row = ["1729517400", "1.0", "2.0", "0.5", "1.5", "0.03", "7"]
    assert kraken.fits(["0"] * 7, row, has_header=False)
    assert not kraken.fits(["0"] * 7, row[:-1], has_header=False)
    assert not kraken.fits(["timestamp", "open"], row, has_header=True)
    names = ["date", "time", "open", "high", "low", "close", "vol"]
    assert mt5.fits([*names, "tickvol"], [], has_header=True)
    assert not mt5.fits(names, [], has_header=True)

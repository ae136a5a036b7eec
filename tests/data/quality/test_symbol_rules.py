from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import Reading, read_interpreted
from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.quality.symbol_rules import is_of
from rllib_tactical.data.resample import import_columns
from rllib_tactical.errors import UsageError
from tests.data.interpret.layouts import LAYOUTS, Row, rows_of, session_bars, write_lines

TQQQ = load_instrument("TQQQ")
QQQ = load_instrument("QQQ")
TRUTH = session_bars()


@pytest.mark.parametrize(
    ("found", "symbol"),
    [
        ("tqqq", "TQQQ"),
        ("NASDAQ:TQQQ", "TQQQ"),
        ("TQQQ.US", "TQQQ"),
        ("BTC/USDT", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("ESZ4", "ES"),
        ("ESH2025", "ES"),
        ("ES=F", "ES"),
        ("CME_MINI:ES1!", "ES"),
        ("ES.c.0", "ES"),
        ("ES 12-24", "ES"),
        ("EUR/USD", "EURUSD"),
        ("13743", "ES"),
    ],
)
def test_names_of_one_market(found: str, symbol: str) -> None:
    assert is_of(found, symbol)


@pytest.mark.parametrize(
    ("found", "symbol"),
    [("QQQ", "TQQQ"), ("TQQQ", "QQQ"), ("NQZ4", "ES"), ("ETHUSDT", "BTCUSDT"), ("ESTC", "ES")],
)
def test_names_of_others(found: str, symbol: str) -> None:
    assert not is_of(found, symbol)


def with_symbols(folder: Path, name: str, rows: list[Row], symbols: tuple[str, ...]) -> Path:
    lines = ["timestamp,symbol,open,high,low,close,volume"]
    for r in rows:
        lines += [f"{r.time:%Y-%m-%dT%H:%MZ},{s},{','.join(r.prices)},{r.volume}" for s in symbols]
    return write_lines(folder / name, lines)


def warned(reading: Reading) -> bool:
    return "other_symbol" in reading.interpretation.warnings


def test_another_symbol_is_a_warning_that_is_stated(tmp_path: Path) -> None:
    path = with_symbols(tmp_path, "TQQQ.csv", rows_of(TRUTH), ("QQQ",))
    reading = read_interpreted(path, instrument=TQQQ)
    said = "the file says that it is of QQQ, the instrument is TQQQ"
    assert warned(reading) and said in reading.interpretation.line(path.name)
    assert not warned(read_interpreted(path, instrument=QQQ))
    assert not warned(read_interpreted(path))
    imported = import_columns(read_series(path).columns, bar_seconds=900, instrument=TQQQ)
    assert imported.report.counts["other_symbol"] == 1


def test_the_chosen_symbol_counts_and_not_the_others(tmp_path: Path) -> None:
    path = with_symbols(tmp_path, "both.csv", rows_of(TRUTH), ("QQQ", "TQQQ"))
    assert not warned(read_interpreted(path, ReadOptions(symbol="TQQQ"), TQQQ))
    assert warned(read_interpreted(path, ReadOptions(symbol="QQQ"), TQQQ))
    written = LAYOUTS["yfinance_tickers"](TRUTH, tmp_path)
    reading = read_interpreted(written.path, ReadOptions(symbol="TQQQ"), QQQ)
    assert reading.interpretation.symbol == "TQQQ"
    assert warned(reading)


def test_files_of_several_symbols_are_joined_by_the_chosen_one(tmp_path: Path) -> None:
    rows = rows_of(TRUTH)
    for number, part in enumerate((rows[:200], rows[200:])):
        with_symbols(tmp_path, f"{number}.csv", part, ("QQQ", "TQQQ"))
    with pytest.raises(UsageError, match="holds 2 symbols"):
        read_interpreted(tmp_path, instrument=TQQQ)
    reading = read_interpreted(tmp_path, ReadOptions(symbol="TQQQ"), TQQQ)
    assert reading.interpretation.bars == len(TRUTH)
    assert not warned(reading)


def test_an_instrument_of_ones_own_counts_by_its_symbol(tmp_path: Path) -> None:
    path = with_symbols(tmp_path, "a.csv", rows_of(TRUTH), ("BRK.B",))
    assert not warned(read_interpreted(path, instrument=replace(TQQQ, symbol="BRK.B")))

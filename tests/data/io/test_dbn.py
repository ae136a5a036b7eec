"""DBN files give the bars that they were made from, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import read_interpreted
from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.resample import import_columns
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import UnreadableError, UsageError
from tests.data.interpret.layouts import session_bars
from tests.data.interpret.test_layouts import assert_same

TQQQ = load_instrument("TQQQ")
MINUTES = session_bars(60)


def dbn_bytes(
    bars: Bars, schema: str = "ohlcv-1m", symbols: dict[str, int] | None = None, rtype: int = 0x21
) -> bytes:
    """Return a DBN file of bars, each once for every instrument of ``symbols``."""
    dbn = pytest.importorskip("databento_dbn")
    times = (bars.timestamp_s * 10**9).tolist()
    first, last = (pd.Timestamp(times[at], unit="ns").date() for at in (0, -1))
    last += timedelta(days=1)
    symbols = {"TQQQ": 7} if symbols is None else symbols
    metadata = dbn.Metadata(
        dataset="XNAS.ITCH",
        start=times[0],
        end=times[-1] + 1,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        schema=dbn.Schema.from_str(schema),
        symbols=list(symbols),
        mappings=[
            SimpleNamespace(
                raw_symbol=symbol,
                intervals=[SimpleNamespace(start_date=first, end_date=last, symbol=str(number))],
            )
            for symbol, number in symbols.items()
        ],
    )
    prices = [
        np.round(getattr(bars, name) * 100).astype(np.int64) * 10**7
        for name in ("open", "high", "low", "close")
    ]
    records = [
        bytes(dbn.OHLCVMsg(rtype, 2, number, time, *map(int, row), int(volume)))
        for time, volume, *row in zip(times, bars.volume.tolist(), *prices, strict=True)
        for number in (symbols.values() or [7])
    ]
    return bytes(metadata) + b"".join(records)


@pytest.mark.parametrize("options", [ReadOptions(), ReadOptions(format="databento")])
@pytest.mark.parametrize("name", ["TQQQ.dbn", "TQQQ.ohlcv-1m.dbn.zst"])
def test_the_bars_equal_the_truth(tmp_path: Path, name: str, options: ReadOptions) -> None:
    path = tmp_path / name
    content = dbn_bytes(MINUTES)
    if path.suffix == ".zst":
        content = pytest.importorskip("zstandard").compress(content)
    path.write_bytes(content)
    reading = read_interpreted(path, options, TQQQ, bar_seconds=60)
    assert_same(reading.bars, MINUTES)
    stated = reading.interpretation
    assert (stated.source, stated.symbol, stated.zone) == ("databento", "TQQQ", "UTC")
    assert stated.bars_per_session == 390.0


def test_an_import_gives_five_minute_bars(tmp_path: Path) -> None:
    path = tmp_path / "TQQQ.dbn"
    path.write_bytes(dbn_bytes(MINUTES))
    found = import_columns(read_series(path).columns, instrument=TQQQ).bars
    groups = [getattr(MINUTES, name).reshape(-1, 5) for name in ("open", "high", "low", "close")]
    truth = Bars(
        MINUTES.timestamp_s[::5],
        groups[0][:, 0],
        groups[1].max(axis=1),
        groups[2].min(axis=1),
        groups[3][:, -1],
        MINUTES.volume.reshape(-1, 5).sum(axis=1),
    )
    assert_same(found, truth)


def test_one_of_two_symbols_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "both.dbn"
    path.write_bytes(dbn_bytes(MINUTES, symbols={"QQQ": 3, "TQQQ": 7}))
    with pytest.raises(
        UsageError, match=r"holds 2 symbols \(QQQ, TQQQ\): choose one with --symbol"
    ):
        read_interpreted(path, instrument=TQQQ, bar_seconds=60)
    reading = read_interpreted(path, ReadOptions(symbol="TQQQ"), TQQQ, bar_seconds=60)
    assert_same(reading.bars, MINUTES)


def test_records_without_a_mapping_are_known_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "raw.dbn"
    path.write_bytes(dbn_bytes(MINUTES, symbols={}))
    assert read_interpreted(path, instrument=TQQQ, bar_seconds=60).interpretation.symbol == "7"


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    content = dbn_bytes(MINUTES)
    for cut in (50, len(content) - 5):
        path = tmp_path / f"TQQQ_{cut}.dbn"
        path.write_bytes(content[:cut])
        with pytest.raises(UnreadableError, match="damaged dbn file"):
            read_series(path)


def test_a_damaged_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "TQQQ.dbn"
    path.write_bytes(dbn_bytes(MINUTES, symbols={"TQQQ": 71717}).replace(b"71717\0", b"7x717\0"))
    with pytest.raises(UnreadableError, match="damaged dbn file: failed to parse"):
        read_series(path)


def test_records_that_are_no_bars_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "quotes.dbn"
    path.write_bytes(dbn_bytes(MINUTES, schema="mbp-1"))
    with pytest.raises(UnreadableError, match="records of schema mbp-1, expected ohlcv-1s"):
        read_series(path)


@pytest.mark.slow
def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "TQQQ.dbn"
    path.write_bytes(b"DBN\x03" + bytes(200))
    code = (
        "import sys; sys.modules['databento'] = None\n"
        "from rllib_tactical.cli.main import run\n"
        f"run(['data', 'check', {str(path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}: DBN files need the extra 'databento'")
    assert line.endswith("pip install 'rllib-tactical[databento]'")


@pytest.mark.slow
def test_other_files_are_read_without_the_extra() -> None:
    code = "import rllib_tactical.data.files, sys; assert 'databento' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

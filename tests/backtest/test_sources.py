from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ConfigError, UsageError


def test_the_bundle_s_instrument_counts_where_none_is_told(bundle: Bundle) -> None:
    (source,) = sources_for((Path("bars.csv"),), (), bundle)
    assert source.instrument == bundle.instrument
    assert source.note is None


def test_a_file_named_for_another_instrument_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"the bundle decides for TEST, and btcusdt-5m\.csv is"):
        sources_for((Path("btcusdt-5m.csv"),), (), bundle)


def test_another_instrument_by_name_is_said(bundle: Bundle) -> None:
    (source,) = sources_for((Path("btcusdt-5m.csv"),), ("BTCUSDT",), bundle)
    assert source.instrument.symbol == "BTCUSDT"
    assert source.note == "The bundle decides for TEST and trades BTCUSDT here."


def test_files_tell_their_instruments_to_a_built_in_policy() -> None:
    files = (Path("TQQQ_5m.csv"), Path("ETHUSDT.parquet"), Path("old/TQQQ_5m.csv"))
    sources = sources_for(files, (), None)
    assert [source.name for source in sources] == ["TQQQ", "ETHUSDT", "TQQQ-2"]
    assert [source.instrument.symbol for source in sources] == ["TQQQ", "ETHUSDT", "TQQQ"]
    with pytest.raises(ConfigError, match="--instrument is needed"):
        sources_for((Path("bars.csv"),), (), None)


def test_instruments_go_with_files() -> None:
    with pytest.raises(UsageError, match="found 1 and 2"):
        sources_for((Path("a.csv"), Path("b.csv")), ("TQQQ",), None)
    with pytest.raises(UsageError, match="a file is given twice"):
        sources_for((Path("TQQQ.csv"), Path("TQQQ.csv")), (), None)


def test_a_symbol_that_is_no_file_name_is_tamed(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text("symbol: EUR/USD\ntick_size: 0.00001\n")
    (source,) = sources_for((Path("bars.csv"),), (str(path),), None)
    assert source.name == "EUR_USD"

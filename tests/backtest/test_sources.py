from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ConfigError, UsageError


def test_the_bundle_s_instrument_counts_where_none_is_told(bundle: Bundle) -> None:
    (source,) = sources_for((Path("bars.csv"),), (), bundle)
    assert source.instrument == bundle.instrument
    assert source.note is None


def trained_with(bundle: Bundle, synergies: str) -> Bundle:
    training = {"data": {"synergies": synergies}}
    return replace(bundle, manifest=bundle.manifest | {"training": training})


def test_synergies_are_those_of_the_training_where_none_are_told(bundle: Bundle) -> None:
    files = (Path("bars.csv"),)
    for synergies in ("detect", "none"):
        (source,) = sources_for(files, (), trained_with(bundle, synergies))
        assert source.data.synergies == synergies
    (source,) = sources_for(files, (), trained_with(bundle, "none"), "detect")
    assert source.data.synergies == "detect"
    (source,) = sources_for((Path("TQQQ.csv"),), (), None)
    assert source.data.synergies == "detect"
    by_events = trained_with(bundle, "0" * 64)
    with pytest.raises(UsageError, match="trained with a file of events"):
        sources_for(files, (), by_events)
    (source,) = sources_for(files, (), by_events, "none")
    assert source.data.synergies == "none"


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

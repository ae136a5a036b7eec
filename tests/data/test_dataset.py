from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.dataset import DataSource, data_sources, load_bars, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.sizing import BundleSize, TrainingBars, WarmUpBars
from rllib_tactical.domain.features.table import FeatureTable, compute_features
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.errors import ConfigError, DataError, FeatureError, UsageError
from tests.market import INSTRUMENT, random_bars

UNSIZED = dataclasses.replace(INSTRUMENT, base_quantity=None)
BARS = random_bars(1_000, seed=3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.csv"
    write_bars(BARS, path)
    return path


def test_a_dataset_has_all_that_is_known_at_each_close(path: Path) -> None:
    stages: list[str] = []
    dataset = load_dataset(DataSource(path, INSTRUMENT), 300, stages.append).sized(WarmUpBars())
    assert stages == ["bars", "check for look-ahead", "features"]
    history, features = dataset.history, compute_features(BARS)
    np.testing.assert_array_equal(history.features.raw, features.raw)
    np.testing.assert_array_equal(
        history.sessions.is_last, sessions_of(BARS, INSTRUMENT, 300).is_last
    )
    assert history.synergy.kind.any()
    assert history.instrument == INSTRUMENT
    assert dataset.describe() == {
        "name": "bars.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": 1_000,
        "bar_seconds": 300,
        "synergies": "detect",
        "size_from": {"kind": "instrument"},
        "interpretation": dataset.interpretation.to_dict(),
    }


def test_synergies_are_those_of_the_source(path: Path, tmp_path: Path) -> None:
    none = load_dataset(DataSource(path, INSTRUMENT, "none")).sized(WarmUpBars())
    assert not none.history.synergy.kind.any()
    events = tmp_path / "events.jsonl"
    events.write_text(
        f'{{"event_id": "a", "timestamp": {BARS.timestamp_s[500]}, "synergy_type": "TYPE_2", '
        '"direction": 1, "confidence": 0.5}\n'
    )
    source = DataSource(path, INSTRUMENT, str(events))
    told = load_dataset(source).sized(WarmUpBars())
    assert set(np.flatnonzero(told.history.synergy.kind)) == {499, 500, 501}
    assert told.describe()["synergies"] == hashlib.sha256(events.read_bytes()).hexdigest()
    assert source.synergies_name == "events.jsonl"
    assert DataSource(path, INSTRUMENT, "none").synergies_name == "none"
    assert "unknown_synergy_type" not in told.describe()["interpretation"]["warnings"]
    events.write_text(events.read_text().replace("TYPE_2", "TYPE_9"))
    warned = load_dataset(source).interpretation
    assert warned.warnings["unknown_synergy_type"] == 3
    assert "unknown_synergy_type 3" in warned.line("bars.csv")


def test_the_source_decides_on_the_size_before_the_command(path: Path) -> None:
    loaded = load_dataset(DataSource(path, UNSIZED))
    assert loaded.sized(TrainingBars(700)).size_from["kind"] == "training_bars"
    size = BundleSize(7.0, "ab" * 32, None)
    sized = load_dataset(DataSource(path, UNSIZED, size_from=size)).sized(TrainingBars(700))
    assert sized.history.instrument.base_quantity == 7.0
    assert sized.size_from["kind"] == "bundle"


def test_features_that_look_ahead_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(bars: Bars) -> FeatureTable:
        table = compute_features(bars)
        return dataclasses.replace(table, raw=np.roll(table.raw, -1, axis=0))

    monkeypatch.setattr("rllib_tactical.domain.features.causality.compute_features", leaky)
    with pytest.raises(FeatureError, match="changes when later bars are added"):
        load_bars(path)
    with pytest.raises(FeatureError, match="changes when later bars are added"):
        load_dataset(DataSource(path, INSTRUMENT))


def test_too_few_bars_are_refused(tmp_path: Path) -> None:
    write_bars(BARS[:360], tmp_path / "few.csv")
    assert len(load_bars(tmp_path / "few.csv").bars) == 360  # which features can be computed of
    with pytest.raises(DataError, match="at least 361 bars"):
        load_dataset(DataSource(tmp_path / "few.csv", INSTRUMENT))


def test_options_name_sources(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("symbol: OWN\ntick_size: 0.01\n")
    files = (Path("TQQQ_5m.csv"), Path("ETHUSDT.parquet"))
    first, second = data_sources(files, (), "none")
    assert (first.path, first.instrument.symbol, first.synergies) == (files[0], "TQQQ", "none")
    assert second.instrument.symbol == "ETHUSDT"
    (named,) = data_sources(files[:1], (str(own),), "events.jsonl")
    assert named == DataSource(files[0], Instrument(symbol="OWN", tick_size=0.01), "events.jsonl")
    with pytest.raises(UsageError, match="give one --instrument per --data or none, found 1 and 2"):
        data_sources(files, ("TQQQ",))
    with pytest.raises(UsageError, match="events name no symbol"):
        data_sources(files, (), "events.jsonl")
    with pytest.raises(ConfigError, match="--instrument is needed"):
        data_sources((Path("bars.csv"),))

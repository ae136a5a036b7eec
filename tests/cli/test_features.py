from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner

from rllib_tactical.cli.main import main
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import FEATURE_NAMES
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.synthetic import make_market


def test_features_writes_what_the_domain_computes(tmp_path: Path) -> None:
    bars = make_market("momentum", 1, 3_000, 0.0).bars
    data, out = tmp_path / "SYNTH.csv", tmp_path / "features.parquet"
    write_bars(bars, data)
    done = CliRunner().invoke(main, ["features", str(data), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "3,000 rows written to" in done.output
    frame = pd.read_parquet(out)
    assert list(frame) == ["timestamp", *FEATURE_NAMES, "atr_14", "close"]
    table = compute_features(bars)
    np.testing.assert_array_equal(frame[list(FEATURE_NAMES)].to_numpy(), table.raw)
    np.testing.assert_array_equal(frame["atr_14"].to_numpy(), table.atr)


def test_features_of_other_bars_need_their_length(tmp_path: Path) -> None:
    data = tmp_path / "SYNTH.csv"
    write_bars(make_market("momentum", 1, 3_000, 0.0).bars, data)
    for bar, error in (("7min7", UsageError), ("1h", DataError)):
        words = ["features", str(data), "--out", str(tmp_path / "f.csv"), "--bar", bar]
        assert isinstance(CliRunner().invoke(main, words).exception, error)
    assert not (tmp_path / "f.csv").exists()

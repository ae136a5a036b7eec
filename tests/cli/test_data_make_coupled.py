from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rllib_tactical.cli.data_make import make_command
from rllib_tactical.data.files import read_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import coupled
from rllib_tactical.synthetic.coupled import make_coupled


@pytest.mark.slow
def test_four_files_with_their_instruments_and_what_the_place_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupled, "REFERENCE_BARS", 60_000)
    monkeypatch.setattr(coupled, "REFERENCE_SESSIONS", 3)
    coupled.coupled_plans.cache_clear()
    arguments = ["--market", "coupled", "--seed", "2", "--bars", "2000"]
    arguments += ["--out", str(tmp_path / "m.csv.gz")]
    result = CliRunner().invoke(make_command, [*arguments, "--json"])
    assert result.exit_code == 0, result.output or repr(result.exception)
    document = json.loads(result.output)
    for market, described in zip(make_coupled(2, 2_000), document["instruments"], strict=True):
        symbol = market.instrument.symbol
        assert described["out"] == str(tmp_path / f"m-{symbol}.csv.gz")
        np.testing.assert_array_equal(read_bars(described["out"]).close, market.bars.close)
        assert load_instrument(tmp_path / f"m-{symbol}.yaml") == market.instrument
    earned = document["per_session"]
    assert earned["first_come"]["trades"] <= earned["without_limit"]["trades"]
    assert earned["oracle"]["sessions"] == 4
    text = CliRunner().invoke(make_command, arguments).output
    assert "edge $320" in text
    assert "the oracle, 1 place for all" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--edge=90"], "--edge must not be given with --market coupled"),
        (["--difficulty=1"], "--difficulty must not be given with --market coupled"),
        (["--parameters-seed=1"], "--parameters-seed goes with --market drawn, found coupled"),
    ],
)
def test_options_that_it_has_none_of(options: list[str], message: str, tmp_path: Path) -> None:
    arguments = ["--market", "coupled", *options, "--out", str(tmp_path / "m.csv")]
    result = CliRunner().invoke(make_command, arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []

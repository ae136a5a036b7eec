from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rllib_tactical.cli.data_make import make_command
from rllib_tactical.data.files import read_bars
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import MARKETS, make_market


@pytest.mark.parametrize("name", MARKETS)
def test_the_file_holds_the_market_of_the_options(name: str, tmp_path: Path) -> None:
    path = tmp_path / "market.parquet"
    options = {"market": name, "seed": 8, "bars": 3000, "difficulty": 0.7, "out": path}
    result = CliRunner().invoke(
        make_command, [f"--{option}={value}" for option, value in options.items()]
    )
    assert result.exit_code == 0, result.output
    found, expected = read_bars(path), make_market(name, 8, 3000, 0.7).bars
    for column in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def test_the_command_prints_what_it_made(tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    arguments = ["--market", "momentum", "--bars", "3000", "--out", str(path)]
    plain = CliRunner().invoke(make_command, arguments)
    assert plain.exit_code == 0
    assert "3000 bars of market momentum" in plain.output
    assert "The oracle earns $" in plain.output
    first = path.read_bytes()
    document = json.loads(CliRunner().invoke(make_command, [*arguments, "--json"]).output)
    assert path.read_bytes() == first
    assert document["bars"] == 3000
    assert document["instrument"] == "SYNTH"
    assert document["sessions"] == 8
    assert document["first"] == "2000-01-03T00:00:00Z"


def test_the_command_without_a_whole_session(tmp_path: Path) -> None:
    arguments = ["--market", "gap", "--bars", "400", "--out", str(tmp_path / "m.csv")]
    assert "oracle" not in CliRunner().invoke(make_command, arguments).output
    document = json.loads(CliRunner().invoke(make_command, [*arguments, "--json"]).output)
    assert document["oracle_pnl_per_session"] is None


@pytest.mark.parametrize("out", ["m.txt", "no/such/folder/m.csv"])
def test_the_command_refuses_an_output_that_cannot_be(out: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(make_command, ["--market", "gap", "--out", str(tmp_path / out)])
    assert isinstance(result.exception, UsageError)
    assert list(tmp_path.iterdir()) == []

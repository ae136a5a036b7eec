from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from rllib_tactical.cli.data_make import make_command
from rllib_tactical.data.files import read_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import (
    MARKETS,
    MarketParameters,
    make_from_parameters,
    make_market,
)
from rllib_tactical.synthetic.parameters import drawn_parameters


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


def made(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(make_command, [*arguments, "--json"])
    assert result.exit_code == 0, result.output or repr(result.exception)
    document: dict[str, Any] = json.loads(result.output)
    return document


@pytest.mark.slow
def test_a_market_of_parameters_comes_with_its_costs(tmp_path: Path) -> None:
    out = str(tmp_path / "m.csv.gz")
    arguments = ("--market", "gap", "--edge", "150", "--cost-share", "0.4", "--bars", "3000")
    document = made(*arguments, "--out", out)
    parameters = MarketParameters(family="gap", edge=150.0, cost_share=0.4)
    market = make_from_parameters(parameters, 1, 3_000)
    np.testing.assert_array_equal(read_bars(tmp_path / "m.csv.gz").close, market.bars.close)
    assert document["parameters"]["edge"] == 150.0
    assert document["instrument_file"] == str(tmp_path / "m.yaml")
    assert load_instrument(tmp_path / "m.yaml") == market.instrument
    text = CliRunner().invoke(make_command, [*arguments, "--out", out]).output
    assert "edge 150" in text
    assert "m.yaml: SYNTH with the costs of this market, for --instrument" in text


@pytest.mark.slow
def test_a_drawn_market_has_the_parameters_of_its_seed(tmp_path: Path) -> None:
    arguments = ("--market", "drawn", "--bars", "3000", "--out", str(tmp_path / "m.parquet"))
    document = made(*arguments, "--parameters-seed", "5", "--seed", "2")
    assert document["market"] == "drawn-5"
    assert document["parameters"] == dataclasses.asdict(drawn_parameters(5))
    np.testing.assert_array_equal(
        read_bars(tmp_path / "m.parquet").close, make_market("drawn-5", 2, 3_000).bars.close
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("gap", "--edge=90", "--difficulty=0"), "--edge must not be given with --difficulty"),
        (("noise", "--edge=90"), "--edge must not be given with --market noise"),
        (("timing", "--difficulty=1"), "--difficulty must not be given with --market timing"),
        (("gap", "--parameters-seed=1"), "--parameters-seed goes with --market drawn, found gap"),
        (("gap", "--edge=900"), r"edge must be in \[0, 400\], found 900"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "m.csv"
    result = CliRunner().invoke(make_command, ["--market", *options, f"--out={out}"])
    assert isinstance(result.exception, UsageError)
    assert re.search(message, str(result.exception))
    assert not out.exists()

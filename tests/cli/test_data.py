from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.data import data_group
from rllib_tactical.data.files import read_bars, write_bars
from rllib_tactical.data.io.parse import BAR_COLUMNS
from rllib_tactical.errors import ConfigError, DataError, UnreadableError, UsageError
from tests.data.tables import walk_bars, walk_frame


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data_group, [str(argument) for argument in arguments])


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    frame = walk_frame().iloc[[*range(20, 40), *range(20)]].reset_index(drop=True)
    frame.loc[3, "high"] = 1.0
    frame.loc[5, "close"] = np.nan
    frame.to_csv(tmp_path / "damaged.csv", index=False)
    return tmp_path / "damaged.csv"


def test_clean_file(tmp_path: Path) -> None:
    write_bars(walk_bars(), tmp_path / "a.csv")
    result = run("check", tmp_path / "a.csv")
    assert result.exit_code == 0
    assert "40 rows, 0 errors, 0 warnings" in result.output.replace("\n", "")
    assert json.loads(run("check", tmp_path / "a.csv", "--json").output) == {
        "file": str(tmp_path / "a.csv"),
        "instrument": None,
        "rows": 40,
        "errors": 0,
        "warnings": 0,
        "counts": {},
        "truncated": False,
        "findings": [],
        "interpretation": {
            "source": "own columns",
            "files": 1,
            "options": {},
            "columns": {name: name for name in BAR_COLUMNS},
            "zone": "UTC",
            "zone_from": "file",
            "unit": None,
            "stamp": "open",
            "stamp_from": "assumed",
            "symbol": None,
            "price_scale": 1.0,
            "step_seconds": 300,
            "bar_seconds": 300,
            "bars": 40,
            "first": "2022-01-03 00:00+00:00",
            "last": "2022-01-03 03:15+00:00",
            "bars_per_session": 40.0,
            "notes": [],
            "warnings": {},
        },
    }


def test_warnings_only_exit_with_zero(tmp_path: Path) -> None:
    walk_frame().drop(index=7).to_csv(tmp_path / "a.csv", index=False)
    result = run("check", tmp_path / "a.csv", "--json")
    assert result.exit_code == 0
    assert json.loads(result.output)["counts"] == {"missing_bars": 1}


def test_errors_exit_with_one(damaged: Path) -> None:
    result = run("check", damaged)
    assert result.exit_code == 1
    assert "high_too_low" in result.output
    document = json.loads(run("check", damaged, "--json").output)
    assert document["counts"]["out_of_order"] == 1
    assert {"row", "timestamp", "rule", "severity", "message"} == set(document["findings"][0])


def test_session_calendar_of_an_instrument(tmp_path: Path) -> None:
    write_bars(walk_bars(), tmp_path / "a.csv")
    document = json.loads(run("check", tmp_path / "a.csv", "--instrument", "TQQQ", "--json").output)
    assert document["counts"] == {"outside_session": 1}
    assert isinstance(
        run("check", tmp_path / "a.csv", "--instrument", "NOPE").exception, ConfigError
    )


def test_the_files_name_tells_the_instrument_unless_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tqqq_5m.csv"
    write_bars(walk_bars(), file)
    document = json.loads(run("check", file, "--json").output)
    assert document["counts"] == {"outside_session": 1}
    assert document["instrument"] == "TQQQ"
    assert "Sessions: XNYS, the calendar of TQQQ, inferred from the file name." in (
        run("check", file).output
    )
    named = run("check", file, "--instrument", "ETHUSDT")
    assert "Sessions: 24/7, the calendar of ETHUSDT.\n" in named.output
    assert "0 warnings" in named.output.replace("\n", "")


def test_repair_writes_copy_and_list(damaged: Path, tmp_path: Path) -> None:
    before = damaged.read_bytes()
    out = tmp_path / "fixed.parquet"
    result = run("check", damaged, "--repair", out)
    assert result.exit_code == 1
    assert len(read_bars(out)) == 39
    listed = json.loads((tmp_path / "fixed.parquet.changes.json").read_text())
    assert {change["action"] for change in listed} == {"sorted", "raised_high", "dropped"}
    assert damaged.read_bytes() == before
    document = json.loads(run("check", damaged, "--repair", out, "--json").output)
    assert document["repair"]["changes"] == listed


def test_hopeless_repair_still_reports(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    result = run("check", tmp_path / "a.csv", "--repair", tmp_path / "b.csv", "--json")
    assert result.exit_code == 1
    assert "missing_column" in json.loads(result.output)["repair"]["error"]
    assert os.listdir(tmp_path) == ["a.csv"]
    text = run("check", tmp_path / "a.csv", "--repair", tmp_path / "b.csv")
    assert "Nothing was written" in text.output


def test_import(tmp_path: Path) -> None:
    write_bars(walk_bars(303, bar_seconds=60), tmp_path / "a.csv")
    result = run("import", tmp_path / "a.csv", "--out", tmp_path / "b.parquet", "--json")
    assert result.exit_code == 0
    document = json.loads(result.output)
    assert (document["rows_in"], document["rows_out"]) == (303, 60)
    assert document["first"] == "2022-01-03T00:00:00Z"
    assert document["last_slot_dropped"] is True
    assert len(read_bars(tmp_path / "b.parquet")) == 60
    text = run("import", tmp_path / "a.csv", "--out", tmp_path / "c.csv", "--bar", "1h")
    assert "5 bars of 1h" in text.output and "partial last slot" in text.output


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (["check", "none.csv"], UnreadableError, 2),
        (["check", "folder.csv"], UnreadableError, 2),
        (["check", "a.csv", "--bar", "7min7"], UsageError, 2),
        (["check", "a.csv", "--bar", "7min"], UsageError, 2),
        (["check", "a.csv", "--repair", "a.csv"], UsageError, 2),
        (["check", "a.csv", "--repair", "b.xyz"], UsageError, 2),
        (["import", "a.csv", "--out", "none/b.csv"], UsageError, 2),
        (["import", "a.csv", "--out", "folder.csv"], UsageError, 2),
        (["import", "a.csv", "--out", "b.csv", "--bar", "1min"], DataError, 1),
    ],
)
def test_user_errors_carry_their_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[Exception],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    write_bars(walk_bars(), tmp_path / "a.csv")
    result = run(*arguments)
    assert type(result.exception) is error
    assert result.exception.exit_code == code  # type: ignore[attr-defined]
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "folder.csv"]

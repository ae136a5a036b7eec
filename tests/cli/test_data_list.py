from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from rllib_tactical.cli.data_group import data_group
from rllib_tactical.data.interpret.formats import FORMATS
from tests.data.interpret.layouts import LAYOUTS, session_bars
from tests.data.tables import walk_frame


def run(*arguments: object, columns: str = "80") -> Result:
    environment = {"COLUMNS": columns}
    return CliRunner().invoke(data_group, [str(a) for a in arguments], env=environment)


def test_a_folder_is_listed(tmp_path: Path) -> None:
    LAYOUTS["kraken"](session_bars(), tmp_path)
    (tmp_path / "a_file_with_a_rather_long_name_[bold].csv").write_text("no bars")
    result = run("list", tmp_path, "--instrument", "TQQQ")
    assert result.exit_code == 0, result.output
    assert "a_file_with_a_rather_long_name_[bold].csv" in result.output
    (line,) = (line for line in result.output.splitlines() if "TQQQ_5.csv" in line)
    for cell in ("kraken", "468", "2024-10-24 09:30-04:00", "2024-11-04 15:55-05:00", "5min"):
        assert cell in line
    assert result.output.endswith(f"{tmp_path}: 1 readable, 1 refused\n")
    listed = json.loads(run("list", tmp_path, "--instrument", "TQQQ", "--json").output)
    assert [(each["file"][:4], each["state"]) for each in listed] == [
        ("TQQQ", "readable"),
        ("a_fi", "refused"),
    ]


def test_options_settle_what_is_refused(tmp_path: Path) -> None:
    LAYOUTS["ninjatrader"](session_bars(), tmp_path)
    assert "1 refused" in run("list", tmp_path).output
    assert "1 readable" in run("list", tmp_path, "--format", "ninjatrader").output


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert run("list", tmp_path).output == f"{tmp_path}: no files\n"
    assert run("list", tmp_path, "--json").output == "[]\n"
    walk_frame().to_csv(tmp_path / "a.csv")
    assert run("list", tmp_path / "gone").exit_code == 1


def test_the_known_sources_are_listed() -> None:
    rows = json.loads(run("formats", "--json").output)
    assert [row["format"] for row in rows] == list(FORMATS)
    output = run("formats", columns="200").output
    for row in rows:
        assert f" {row['format']} " in output
    assert "by --format" in output

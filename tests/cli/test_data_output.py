"""How findings are printed and files are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.cli.data_output import json_text, print_report, require_output, write_text
from rllib_tactical.data.quality.repair import repair_columns
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.errors import UsageError
from tests.data.tables import NOW_S, columns_of, walk_frame

FILE = Path("[broken].csv")


def test_a_table_shows_eight_findings_of_a_rule_and_counts_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = walk_frame(40)
    frame.loc[10:29, "volume"] = -1.0
    print_report(FILE, check_columns(columns_of(frame), now_s=NOW_S))
    text = capsys.readouterr().out
    assert text.count("negative_volume") == 8 + 1  # and once in the table of counts
    assert "shows 8 findings of each rule at most" in text
    assert "[broken].csv: 40 rows, 20 errors, 0 warnings" in text  # brackets are no markup


def test_a_clean_file_needs_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(FILE, check_columns(columns_of(walk_frame(40)), now_s=NOW_S))
    assert capsys.readouterr().out == "[broken].csv: 40 rows, 0 errors, 0 warnings\n"


def test_a_repair_says_what_it_did_or_that_it_did_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = walk_frame(40)
    frame.loc[5, "high"] = 1.0
    columns = columns_of(frame)
    report = check_columns(columns, now_s=NOW_S)
    _, changes = repair_columns(columns, now_s=NOW_S)
    print_report(FILE, report, Path("fixed.csv"), changes)
    assert "fixed.csv, 1 changes, listed in" in capsys.readouterr().out.replace("\n", " ")
    print_report(FILE, report, Path("fixed.csv"))
    assert "Nothing was written: the file cannot be repaired." in capsys.readouterr().out


def test_an_output_is_refused_before_any_work(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.touch()
    with pytest.raises(UsageError, match="must end in"):
        require_output(tmp_path / "b.xyz", source)
    with pytest.raises(UsageError, match="is the input file"):
        require_output(source, source)
    require_output(tmp_path / "b.csv", source)


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", json_text({"a": [1]}))
    assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    1\n  ]\n}'
    with pytest.raises(UsageError, match="cannot write"):
        write_text(tmp_path / "none" / "a.json", "")

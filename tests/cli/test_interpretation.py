"""Every command that reads a file of bars says what it took it for, and keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import read_bars
from tests.data.interpret.layouts import LAYOUTS, rows_of, session_bars, write_lines

DAYS = [f"2024-04-{day:02}" for day in (*range(8, 13), *range(15, 20), *range(23, 27))]
TRUTH = session_bars(days=DAYS)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture
def naive(tmp_path: Path) -> Path:
    rows = [f"{r.time:%Y-%m-%d %H:%M},{','.join(r.prices)},{r.volume}" for r in rows_of(TRUTH)]
    return write_lines(tmp_path / "TQQQ.csv", ["timestamp,open,high,low,close,volume", *rows])


def test_check_and_import_say_it(
    naive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "data", "check", naive)
    assert (code, out) == (2, "")
    assert "TQQQ.csv: the times name no time zone: give --tz; as UTC 100% of the bars" in err
    code, out, _ = run(capsys, "data", "check", naive, "--tz", "UTC")
    assert code == 0
    assert "TQQQ.csv read as own columns; times UTC; stamped at the open (assumed); " in out
    target = tmp_path / "out.parquet"
    code, _, err = run(capsys, "data", "import", naive, "--out", target)
    assert code == 2 and "--tz" in err and not target.exists()
    code, out, _ = run(capsys, "data", "import", naive, "--out", target, "--tz", "UTC", "--json")
    stated = json.loads(out)["interpretation"]
    assert (code, stated["zone"], stated["zone_from"]) == (0, "UTC", "option")
    assert stated["warnings"] == {"missing_bars": 1}
    assert len(read_bars(target)) == len(TRUTH)


def test_a_zone_that_is_assumed_is_said_by_import(
    tmp_path: Path, naive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = naive.rename(tmp_path / "bars.csv")
    code, out, _ = run(capsys, "data", "import", unknown, "--out", tmp_path / "o.csv")
    assert code == 0
    assert "times UTC (assumed)" in out and "naive_timestamps 1" in out


def test_features_say_it(naive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "features.parquet"
    code, _, err = run(capsys, "features", naive, "--out", out_file)
    assert code == 2 and "--tz" in err
    code, out, err = run(capsys, "features", naive, "--out", out_file, "--tz", "UTC")
    assert code == 0 and "rows written" in out
    assert err.startswith("TQQQ.csv read as own columns; times UTC;")


@pytest.mark.slow
def test_a_backtest_says_it_and_keeps_it(
    naive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "backtest"
    options = ("--policy", "rules", "--data", naive, "--out", out, "--no-statistics")
    code, _, err = run(capsys, "backtest", *options)
    assert code == 2 and "--tz" in err and not out.exists()
    code, text, err = run(capsys, "backtest", *options, "--tz", "UTC")
    assert code == 0, err
    assert "TQQQ.csv read as own columns; times UTC;" in err
    assert "TQQQ.csv: the check of the data warns: missing_bars 1." in text.replace("\n", " ")
    stated = json.loads((out / "config.json").read_text())["data"]["interpretation"]
    assert stated["options"] == {"tz": "UTC"}
    assert stated["bars_per_session"] == 78.0
    page = (out / "report.html").read_text()
    assert "the check of the data warns: missing_bars 1" in page
    assert "read as own columns; times UTC;" in page


@pytest.mark.slow
def test_a_selftest_says_it_and_keeps_it(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = LAYOUTS["mt5"](TRUTH, tmp_path)
    options = ("--bundle", bundle.path, "--data", written.path, "--instrument", "TQQQ")
    code, _, err = run(capsys, "selftest", *options)
    assert code == 2 and "TQQQ_M5.csv: the times name no time zone: give --tz" in err
    code, out, err = run(capsys, "selftest", *options, "--tz", "America/New_York+7", "--json")
    assert "TQQQ_M5.csv read as mt5 (" in err
    assert json.loads(out)["interpretation"]["zone"] == "America/New_York+7"


def test_commands_that_train_and_evaluate_refuse_guesses(
    naive: Path, tmp_path: Path, project_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = project_root / "tune_configs" / "grid.yaml"
    for command in (
        ("train", "--data", naive, "--out", tmp_path / "run"),
        ("tune", "--sweep", sweep, "--data", naive, "--out", tmp_path / "sweep"),
        ("evaluate", "--data", naive, "--out", tmp_path / "evaluation"),
        ("demo", "--data", naive, "--out", tmp_path / "demo"),
    ):
        code, _, err = run(capsys, *command)
        assert code == 2, err
        assert "TQQQ.csv: the times name no time zone: give --tz" in err

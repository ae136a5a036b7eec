from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.report import writer as write
from rllib_tactical.backtest.report.writer import FILES, write_backtest
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.errors import UsageError

CONTEXT = ReportContext("Backtest")


def test_every_file_is_written_and_reads_back(comparison: Comparison, tmp_path: Path) -> None:
    paths = write_backtest(comparison, tmp_path / "new" / "out", CONTEXT, {"bundle_id": "x"})
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(FILES)
    assert [path.name for path in paths] == list(FILES)
    result, out = comparison.policy.result, tmp_path / "new" / "out"
    kpis = json.loads((out / "kpis.json").read_text())
    assert kpis["kpis"]["net_pnl"] == result.net_pnl
    assert kpis["seen_in_training"] is None
    trades = pd.read_csv(out / "trades.csv", parse_dates=["entry_time", "exit_time"])
    np.testing.assert_allclose(trades["pnl"], result.trades["pnl"], rtol=1e-9)
    assert (trades["entry_time"] == result.trades["entry_time"]).all()
    assert round(trades["pnl"].sum(), 2) == round(result.net_pnl, 2)
    equity = pd.read_parquet(out / "equity.parquet")
    np.testing.assert_array_equal(equity["equity"], result.equity["equity"])
    decisions = pd.read_parquet(out / "decisions.parquet")
    assert decisions["reason"].tolist() == result.decisions["reason"].tolist()
    config = json.loads((out / "config.json").read_text())
    assert config == {"kind": "backtest", "bundle_id": "x"}


def test_an_earlier_backtest_is_replaced(comparison: Comparison, tmp_path: Path) -> None:
    write_backtest(comparison, tmp_path, CONTEXT, {"bundle_id": "x"})
    (tmp_path / "kpis.json").write_text("old")
    write_backtest(comparison, tmp_path, CONTEXT, {"bundle_id": "y"})
    assert json.loads((tmp_path / "kpis.json").read_text())
    assert json.loads((tmp_path / "config.json").read_text())["bundle_id"] == "y"


@pytest.mark.parametrize(
    "names", [("notes.txt",), ("kpis.json",), ("manifest.json", "config.json"), ("config.json",)]
)
def test_a_folder_of_something_else_is_left_alone(
    comparison: Comparison, tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match="that of an earlier backtest, found"):
        write_backtest(comparison, tmp_path, CONTEXT, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_text() == "{}" for name in names)


def test_foreign_files_among_parts_are_left_alone(comparison: Comparison, tmp_path: Path) -> None:
    write_backtest(comparison, tmp_path, CONTEXT, {})
    (tmp_path / "parts" / "mine").mkdir(parents=True)
    (tmp_path / "parts" / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_backtest(comparison, tmp_path, CONTEXT, {})
    assert (tmp_path / "parts" / "mine" / "notes.txt").read_text() == "mine"


def test_a_failure_before_the_first_file_leaves_the_folder_alone(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no template")

    write_backtest(comparison, tmp_path, CONTEXT, {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(write, "render_report", fail)
    with pytest.raises(RuntimeError, match="no template"):
        write_backtest(comparison, tmp_path, CONTEXT, {"changed": True})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_an_error(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        write_backtest(comparison, tmp_path / "file" / "out", CONTEXT, {})

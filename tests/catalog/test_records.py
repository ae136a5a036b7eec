from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rllib_tactical.catalog.records import Record, find_records, flat, read_record
from rllib_tactical.errors import UsageError


def nothing(text: str) -> None:
    pytest.fail(f"nothing must be left out: {text}")


def by_name(folder: Path) -> dict[str, Record]:
    return {record.path.name: record for record in find_records([folder], nothing)}


def test_everything_below_a_folder_is_found_once(results: Path) -> None:
    found = by_name(results)
    assert {name: record.kind for name, record in found.items()} == {
        "run": "run",
        "sweep": "sweep",
        "near": "backtest",
        "far": "backtest",
    }
    assert len(find_records([results, results / "traded"], nothing)) == 4
    written = [record.written for record in find_records([results], nothing)]
    assert written == sorted(written)


def test_a_run_shows_how_far_it_is_and_its_best_validation(results: Path) -> None:
    run = by_name(results)["run"]
    assert run.state == "2 of 2 iterations"
    assert run.symbols == "SYNTH"
    assert run.metrics["trades"] > 0
    assert run.settings["training.iterations"] == 2
    assert run.settings["data.name"] == "bars.parquet"


def test_a_sweep_that_was_killed_is_not_finished(results: Path) -> None:
    sweep = by_name(results)["sweep"]
    assert sweep.state == "not finished, 2 trials wanted"
    assert sweep.metrics == {}


def test_a_backtest_has_its_metrics_and_its_equity(results: Path) -> None:
    backtest = by_name(results)["near"]
    assert backtest.metrics["net_pnl"] > 0
    assert (backtest.metrics["trades"], backtest.metrics["win_rate"]) == (7.0, 2 / 7)
    assert backtest.settings["rules.orders.stop_atr"] == 2.0
    assert backtest.equity is not None
    assert backtest.equity.is_file()


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(results / "traded", copy)
    (copy / "far" / "kpis.json").write_text("{")
    told: list[str] = []
    assert [record.path.name for record in find_records([copy], told.append)] == ["near"]
    assert len(told) == 1
    assert "kpis.json" in told[0]


def test_a_folder_of_something_else_is_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be the folder of a run"):
        read_record(results)
    with pytest.raises(UsageError, match="must be a folder"):
        find_records([tmp_path / "missing"], nothing)
    (tmp_path / "config.json").write_text('{"kind": "other"}')
    assert find_records([tmp_path], nothing) == []


def test_nested_settings_get_dotted_keys() -> None:
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}

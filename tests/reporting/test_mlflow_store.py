"""Results of commands in a real MLflow store on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.reporting.mlflow_store import (
    COMMAND,
    EXPERIMENT,
    PARENT,
    MlflowStore,
    flat,
    logged,
    numbers,
    opened_store,
)


@pytest.fixture
def store(tmp_path: Path) -> MlflowStore:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    return MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")


def runs(store: MlflowStore) -> dict[str, Any]:
    """Return the runs of the experiment by name."""
    experiment = store.client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = store.client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in found}


def test_a_result_is_a_run_with_its_settings_numbers_and_files(
    store: MlflowStore, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    report.write_text("<html></html>")
    whole = store.log_result(
        "backtest",
        "first",
        params={"rules": {"fee_bps": 1.5}, "bundle": "abc"},
        result={"kpis": {"net_pnl": 7.5, "sharpe": float("nan")}, "verdict": "words", "ok": True},
        files=[report],
    )
    store.log_result(
        "tune",
        "part",
        params={},
        result={},
        parent=whole,
        points=[("net_pnl", 1.0, 100), ("net_pnl", 2.0, 200)],
        status="FAILED",
    )
    found = runs(store)
    first, part = found["first"], found["part"]
    assert (first.info.status, first.data.tags[COMMAND]) == ("FINISHED", "backtest")
    assert first.data.params == {"rules.fee_bps": "1.5", "bundle": '"abc"'}
    assert first.data.metrics == {"kpis.net_pnl": 7.5, "ok": 1.0}
    assert [file.path for file in store.client.list_artifacts(whole)] == ["report.html"]
    assert (part.info.status, part.data.tags[PARENT]) == ("FAILED", whole)
    history = store.client.get_metric_history(part.info.run_id, "net_pnl")
    assert [(point.step, point.value) for point in history] == [(100, 1.0), (200, 2.0)]


def test_a_store_that_fails_is_said_and_the_command_goes_on(store: MlflowStore) -> None:
    lines: list[str] = []
    logged(store, lines.append, lambda given: given.client.set_terminated("no such run"))
    assert len(lines) == 1
    assert lines[0].startswith("MLflow failed, the results are in the folder only: ")
    logged(None, lines.append, lambda given: given.client.set_terminated("no such run"))
    assert len(lines) == 1


def test_a_store_that_cannot_be_opened_is_refused_first() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(UsageError, match="--mlflow nonsense"):
        opened_store("nonsense://x")
    assert opened_store(None) is None


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("mlflow", "mlflow.tracking", "mlflow.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainingError, match=r"pip install .*\.\[mlflow\]"):
        opened_store("sqlite:///x.db")


def test_nested_values_are_named_by_dots() -> None:
    values = {"a": {"b": [1, 2], "c": {"d": None}}, "e": "x", "f": 2, "100% sure": 0.5}
    assert dict(flat(values))["a.b"] == "[1, 2]"
    assert dict(flat(values))["a.c.d"] == "null"
    assert dict(numbers(values)) == {"f": 2.0, "100_ sure": 0.5}

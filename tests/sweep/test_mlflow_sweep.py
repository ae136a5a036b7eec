from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.reporting.mlflow_store import PARENT, MlflowStore
from rllib_tactical.sweep.folder import REPORT, SUMMARY, SWEEP, SweepFolder
from rllib_tactical.sweep.history import FAILED
from rllib_tactical.sweep.mlflow_sweep import log_sweep
from rllib_tactical.sweep.results import Conclusion, summary
from tests.reporting.test_mlflow_store import runs
from tests.sweep.conftest import parse
from tests.sweep.test_results import trial


def test_a_sweep_has_a_run_and_one_below_it_for_each_trial(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    out = tmp_path / "first"
    out.mkdir()
    (out / SWEEP).write_text(json.dumps({"identity": "abc"}))
    (out / REPORT).write_text("<html></html>")
    folder = SweepFolder(place_of(out))
    folder.history = {0: trial(0, 100.0), 1: trial(1, 1_500.0), 2: trial(2, None, FAILED)}
    found = summary(parse(), folder, Conclusion(folder.history[1], None, None, {"lr": 1.0}))
    (out / SUMMARY).write_text(json.dumps(found))
    store = MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    number = log_sweep(store, folder)
    made = runs(store)
    assert set(made) == {"first", "first-0000", "first-0001", "first-0002"}
    whole = made["first"]
    assert whole.info.run_id == number
    assert whole.data.params["identity"] == '"abc"'
    metrics = whole.data.metrics
    assert (metrics["best_net_pnl"], metrics["trials"], metrics["failed"]) == (1_500.0, 3.0, 1.0)
    assert metrics["importance.lr"] == 1.0
    names = {file.path for file in store.client.list_artifacts(number)}
    assert names == {REPORT, SUMMARY}
    best = made["first-0001"]
    assert best.data.tags[PARENT] == number
    assert best.data.params == {"training.actor_lr": "0.00025"}
    assert (best.data.metrics["net_pnl"], best.data.metrics["best.net_pnl"]) == (1_500.0, 1_500.0)
    (point,) = store.client.get_metric_history(best.info.run_id, "net_pnl")
    assert point.step == 512
    assert made["first-0002"].info.status == "FAILED"
    assert made["first-0002"].data.metrics == {"best.seconds": 0.0}

"""A real MLflow store on this machine, and none."""

import sys

import pytest

from rllib_tactical.config import TacticalConfig, content_hash, to_dict
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.rl.mlflow_log import EXPERIMENT, MlflowLog
from rllib_tactical.rl.report import REPORT
from rllib_tactical.rl.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    config = TacticalConfig()
    folder = RunFolder(tmp_path / "first")
    folder.start({"config": to_dict(config), "config_hash": content_hash(config)})
    (folder.path / REPORT).write_text("<html></html>")
    return folder


def row(k, **more):
    return {"env_steps": 100 * k, "pnl": 1.5 * k, "reward_cv": None, "converged": False, **more}


def test_a_run_and_its_resumption_are_one_mlflow_run(folder, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    (tmp_path / "store").mkdir()
    first = MlflowLog(uri)
    with pytest.raises(KeyboardInterrupt), first.run(folder):
        first.log(row(1))
        raise KeyboardInterrupt
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "KILLED"
    second = MlflowLog(uri)
    with second.run(folder):
        second.log(row(2, validation_net_pnl=7.0))
    (run,) = client.search_runs([experiment])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.params["training.gamma"] == "0.99"
    assert run.data.metrics == {
        "env_steps": 200, "pnl": 3.0, "converged": 0.0, "validation_net_pnl": 7.0
    }  # fmt: skip
    history = client.get_metric_history(run.info.run_id, "pnl")
    assert [(point.step, point.value) for point in history] == [(100, 1.5), (200, 3.0)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == [REPORT]
    assert (tmp_path / "store" / "mlflow-artifacts").is_dir()


def test_a_store_that_cannot_be_opened_is_refused(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(UsageError, match="--mlflow nonsense"):
        MlflowLog("nonsense://x")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrainingError, match=r"pip install .*\.\[mlflow\]"):
        MlflowLog("sqlite:///x.db")

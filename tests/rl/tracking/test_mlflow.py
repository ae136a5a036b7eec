"""A real MLflow store on this machine, and none."""

import contextlib
import sqlite3
import sys

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder, StartPoint
from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.reporting.mlflow_store import EXPERIMENT
from rllib_tactical.rl.tracking import mlflow as mlflow_log
from rllib_tactical.rl.tracking.mlflow import MlflowLogger
from rllib_tactical.rl.tracking.report import REPORT
from rllib_tactical.rl.training.callbacks import CallbackList, TrainingRun, notified


@pytest.fixture
def folder(tmp_path):
    config = TacticalConfig()
    folder = RunFolder(tmp_path / "first")
    folder.start({"config": to_dict(config), "config_hash": content_hash(config)})
    (folder.path / REPORT).write_text("<html></html>")
    return folder


@contextlib.contextmanager
def followed(folder, logger, done=0):
    """A run that starts after ``done`` iterations; yields what takes a row."""
    run = TrainingRun(folder, TacticalConfig(), StartPoint(iteration=done, env_steps=100 * done))
    with notified(run, CallbackList([logger])):
        yield lambda row: logger.on_iteration(run, row)


def row(k, **more):
    return {"env_steps": 100 * k, "pnl": 1.5 * k, "reward_cv": None, "converged": False} | more


def test_a_run_and_its_resumption_are_one_mlflow_run(folder, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    (tmp_path / "store").mkdir()
    first = MlflowLogger(uri)
    with pytest.raises(KeyboardInterrupt), followed(folder, first) as log:
        log(row(1))
        raise KeyboardInterrupt
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "KILLED"
    second = MlflowLogger(uri)
    with followed(folder, second, 1) as log:
        log(row(2, validation_net_pnl=7.0))
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


@contextlib.contextmanager
def without_table(uri, name):
    """Break a store for a while."""
    path = uri.removeprefix("sqlite:///")
    for old, new in ((name, "gone"), ("gone", name)):
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute(f"ALTER TABLE {old} RENAME TO {new}")
        if new == "gone":
            yield


def test_a_store_that_fails_is_logged_once_and_ends_nothing(folder, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    lines: list[str] = []
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = MlflowLogger(uri, lines.append)
    with followed(folder, tracking) as log:
        log(row(1))
        with without_table(uri, "metrics"):
            log(row(2))
        log(row(3))  # the store is left alone for a while
        assert len(lines) == 1
        monkeypatch.setattr(mlflow_log, "TRY_AGAIN_AFTER_S", 0.0)
        with without_table(uri, "metrics"):
            log(row(4))
        log(row(5))
    assert len(lines) == 1
    assert "MLflow failed" in lines[0]
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "pnl")
    assert [point.step for point in history] == [100, 500]


def test_a_store_that_fails_at_the_end_hides_no_error(folder, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    lines: list[str] = []
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = MlflowLogger(uri, lines.append)
    with contextlib.ExitStack() as broken:
        with pytest.raises(TrainingError, match="diverged"), followed(folder, tracking):
            broken.enter_context(without_table(uri, "runs"))
            raise TrainingError("diverged")
        assert len(lines) == 1
        with pytest.raises(UsageError, match="--mlflow sqlite"), followed(folder, tracking):
            pass


def test_a_store_that_cannot_be_opened_is_refused(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(UsageError, match="--mlflow nonsense"):
        MlflowLogger("nonsense://x")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrainingError, match=r"pip install .*\.\[mlflow\]"):
        MlflowLogger("sqlite:///x.db")


def test_points_after_the_start_are_gone_and_all_else_of_the_run_stays(folder, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = MlflowLogger(uri)
    with pytest.raises(KeyboardInterrupt), followed(folder, first) as log:
        for k in (1, 2, 3):
            log(row(k))
        raise KeyboardInterrupt
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (before,) = client.search_runs([experiment])
    client.set_tag(before.info.run_id, "team", "blue")
    points = client.get_metric_history(before.info.run_id, "pnl")

    with followed(folder, MlflowLogger(uri), 3):
        (run,) = client.search_runs([experiment])
        assert run.info.run_id == before.info.run_id  # there was nothing to drop
    with followed(folder, MlflowLogger(uri), 2) as log:
        log(row(3, pnl=9.0))
    (after,) = client.search_runs([experiment])
    assert after.info.run_id != before.info.run_id
    assert (after.info.run_name, after.info.start_time) == ("first", before.info.start_time)
    assert after.data.params == before.data.params
    assert after.data.tags["team"] == "blue"
    now = client.get_metric_history(after.info.run_id, "pnl")
    assert [(p.step, p.value) for p in now] == [(100, 1.5), (200, 3.0), (300, 9.0)]
    assert [p.timestamp for p in now[:2]] == [p.timestamp for p in points[:2]]
    with followed(folder, MlflowLogger(uri), 3) as log:  # a resumed training takes the new one
        log(row(4))
    (last,) = client.search_runs([experiment])
    assert last.info.run_id == after.info.run_id

"""A real, tiny evaluation: two folds, two seeds, trained by Ray tasks."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.report.writer import FILES
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.reporting.mlflow_store import MlflowStore
from rllib_tactical.synthetic import make_market
from tests.reporting.test_mlflow_store import runs

BARS = 6_000
CONFIG = """tactical_marl:
  training:
    iterations: 1
    steps_per_update: 512
    batch_size: 256
    epochs: 1
    num_envs: 32
    accounts_per_bar: 4
    episodes: {kind: bars, length: 32, cost_factors: [1.0, 1.0]}
    checkpoint_every: 1
    temperature_scales: [1.0, 0.125]
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.run(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    write_bars(make_market("momentum", 1, BARS).bars, folder / "SYNTH.parquet")
    (folder / "small.yaml").write_text(CONFIG)
    return folder / "SYNTH.parquet", folder / "small.yaml"


@pytest.fixture(scope="module")
def arguments(files: tuple[Path, Path]) -> list[object]:
    return ["--data", files[0], "--config", files[1], "--folds", 2, "--seeds", 2]


@pytest.fixture(scope="module")
def finished(
    arguments: list[object], tmp_path_factory: pytest.TempPathFactory, ray_instance: None
) -> Path:
    out = tmp_path_factory.mktemp("evaluations") / "first"
    logged = find_spec("mlflow") and find_spec("sqlalchemy")
    more = ["--mlflow", store_beside(out)] if logged else []
    with pytest.raises(SystemExit) as stop:
        cli.run(["evaluate", *map(str, arguments), "--out", str(out), *more])
    assert not stop.value.code
    return out


def store_beside(out: Path) -> str:
    return f"sqlite:///{out.parent / 'mlflow.db'}"


@pytest.mark.ray
def test_an_evaluation_is_logged_to_mlflow(finished: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    store = MlflowStore(store_beside(finished))
    run = runs(store)["first"]
    document = json.loads((finished / "evaluation.json").read_text())
    assert run.data.metrics["mean_net_pnl"] == pytest.approx(document["mean_net_pnl"])
    assert run.data.params["seeds"] == "[0, 1]"
    names = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert names == {"evaluation.json", "report.html"}


@pytest.mark.ray
def test_every_fold_and_seed_leaves_a_bundle_and_all_one_report(finished: Path) -> None:
    bundles = {
        (fold, seed): load_bundle(finished / f"fold-{fold}" / f"seed-{seed}" / "bundle")
        for fold in (0, 1)
        for seed in (0, 1)
    }
    for (fold, seed), bundle in bundles.items():
        training = bundle.manifest["training"]
        assert training["seed"] == seed
        assert training["data"]["splits"]["validation"]["stop"] == (3_000, 4_500)[fold]
    assert len({bundle.bundle_id for bundle in bundles.values()}) == 4
    results = finished / "results"
    assert sorted(path.name for path in results.iterdir()) == sorted(FILES)
    document = json.loads((finished / "evaluation.json").read_text())
    assert set(document["seeds"]) == {"0", "1"}
    assert document["statistics"]["trials"] == 4  # two seeds with two temperature scales
    net = [each["kpis"]["net_pnl"] for each in document["seeds"].values()]
    assert document["mean_net_pnl"] == pytest.approx(np.mean(net))
    trials = pd.read_parquet(finished / "trials.parquet")
    assert trials.shape[1] == 4
    assert document["statistics"]["days"] == len(trials)
    html = (results / "report.html").read_text()
    assert "Net P&amp;L by seed in dollars:" in html
    assert json.loads((results / "kpis.json").read_text())["verdict"] == document["verdict"]
    assert "Trained agents, seed 1" in html
    assert "Buy and hold" in html


@pytest.mark.ray
def test_nobody_trades_between_two_tests_and_nothing_before_them(finished: Path) -> None:
    decisions = pd.read_parquet(finished / "results" / "decisions.parquet")
    bar = decisions["bar"].to_numpy()
    assert bar[0] == 3_000 + EMBARGO_BARS
    assert bar[-1] == BARS - 2
    purged = decisions[(bar >= 4_500) & (bar < 4_500 + EMBARGO_BARS)]
    assert len(purged) == EMBARGO_BARS
    assert not purged["entered"].any()


@pytest.mark.ray
def test_resume_trains_only_what_is_missing(
    finished: Path, arguments: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((finished / "evaluation.json").read_text())
    kept = finished / "fold-0" / "seed-0" / "bundle" / "manifest.json"
    stamp = kept.stat().st_mtime_ns
    shutil.rmtree(finished / "fold-1" / "seed-1" / "bundle")  # cut off before its export
    code, text, err = call(capsys, *arguments, "--out", finished, "--resume", "--json")
    assert code == 0, err
    assert "3 of 4 training runs are finished" in err
    assert "fold 1 seed 1: bundle" in err
    assert kept.stat().st_mtime_ns == stamp
    # the run itself was finished, so that the same weights come out again
    again = json.loads(text)
    assert again["seeds"] == before["seeds"]
    assert again["statistics"] == before["statistics"]


@pytest.mark.ray
def test_the_training_bars_of_the_first_fold_size_all_folds(finished: Path) -> None:
    plan = json.loads((finished / "plan.json").read_text())
    assert plan["data"]["size_from"]["kind"] == "training_bars"
    assert plan["data"]["size_from"]["bars"] == 2_550 - (EMBARGO_BARS - 1)
    for fold in (0, 1):
        run = json.loads((finished / f"fold-{fold}" / "seed-0" / "run" / "run.json").read_text())
        assert run["parts"][0]["instrument"] == plan["instrument"]
        assert run["parts"][0]["data"]["size_from"] == plan["data"]["size_from"]


@pytest.mark.ray
def test_an_evaluation_from_before_the_origin_of_sizes_was_recorded_goes_on(
    finished: Path, arguments: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((finished / "plan.json").read_text())
    del plan["data"]["size_from"]
    (finished / "plan.json").write_text(json.dumps(plan))
    code, _, err = call(capsys, *arguments, "--out", finished, "--resume")
    assert code == 0, err
    plan["instrument"]["base_quantity"] += 1.0
    (finished / "plan.json").write_text(json.dumps(plan))
    code, _, err = call(capsys, *arguments, "--out", finished, "--resume")
    assert code == 1
    assert "--resume: instrument differs" in err
    plan["instrument"]["base_quantity"] -= 1.0
    (finished / "plan.json").write_text(json.dumps(plan))


@pytest.mark.ray
def test_another_evaluation_is_not_mixed_in(
    finished: Path, arguments: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, *arguments, "--out", finished)
    assert code == 2
    assert "holds a walk-forward evaluation already: continue it with --resume" in err
    code, _, err = call(capsys, *arguments, "--iterations", 2, "--out", finished, "--resume")
    assert code == 1
    assert "--resume: config differs" in err


@pytest.mark.ray
def test_more_runners_than_the_cluster_has_are_refused(
    arguments: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ray_instance: None,
) -> None:
    out = tmp_path / "out"
    few = [*arguments[:4], "--folds", 1, "--seeds", 1]
    code, _, err = call(capsys, *few, "--num-env-runners", 5, "--out", out)
    assert code != 0
    assert not (out / "evaluation.json").exists()
    assert "Traceback" not in err

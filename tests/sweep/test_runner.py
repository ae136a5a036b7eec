"""Real, tiny sweeps in one process, and what they leave."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import ValidationConfig
from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.rl.run_description import cpus_of
from rllib_tactical.sweep.history import read_history
from rllib_tactical.sweep.runner import bundles_of, room_for
from rllib_tactical.sweep.spec import with_changes
from tests.sweep.conftest import Call, parse, sweep_file
from tests.sweep.test_hparams import sessions
from tests.sweep.test_optuna_study import opened

SPACE = {
    "training.actor_lr": {"log_uniform": [0.0001, 0.001]},
    "model.hidden_sizes": {"choice": [[16], [32, 16]]},
    "aggregation.execution_threshold": {"uniform": [0.55, 0.65]},
}


def rows_of(trial: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (trial / "progress.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "optuna.yaml"
    more = {"search": "optuna", "scheduler": "asha", "samples": 3}
    return sweep_file(path, SPACE, training={"iterations": 3}, **more)


@pytest.fixture(scope="module")
def finished(
    sweep: Path, bars: Path, tmp_path_factory: pytest.TempPathFactory, ray_instance: None
) -> Path:
    from rllib_tactical.cli import main as cli

    out = tmp_path_factory.mktemp("out") / "sweep"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        cli.run(["tune", "--sweep", str(sweep), "--data", str(bars), "--out", str(out)])
    assert not stop.value.code
    assert signal.getsignal(signal.SIGINT) is before  # Tune's own one would swallow a Ctrl-C
    return out


@pytest.mark.ray
def test_a_sweep_leaves_every_trial_and_the_best_as_a_bundle(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert [trial["trial"] for trial in summary["trials"]] == [0, 1, 2]
    assert {trial["status"] for trial in summary["trials"]} <= {"finished", "stopped early"}
    best = max(summary["trials"], key=lambda trial: (trial["net_pnl"], -trial["trial"]))
    assert (summary["best_trial"], summary["best_net_pnl"]) == (best["trial"], best["net_pnl"])
    for trial in summary["trials"]:
        folder = finished / "trials" / f"{trial['trial']:04d}"
        run = json.loads((folder / "run.json").read_text())["config"]
        assert run["training"]["actor_lr"] == trial["params"]["training.actor_lr"]
        assert run["model"]["hidden_sizes"] == trial["params"]["model.hidden_sizes"]
        # the objective is validation by the serving rule, not what training earned
        validated = [row["validation_net_pnl"] for row in rows_of(folder)]
        assert trial["net_pnl"] == max(validated)
    bundle = load_bundle(finished / "bundle")
    lineage = bundle.manifest["training"]["sweep"]
    assert bundle.bundle_id == summary["bundle_id"]
    assert (lineage["trial"], lineage["trials"]) == (best["trial"], 3)
    assert lineage["identity"] == summary["identity"]
    assert lineage["params"] == best["params"]
    assert bundle.rules.aggregation.execution_threshold == pytest.approx(
        best["params"]["aggregation.execution_threshold"]
    )


@pytest.mark.ray
def test_the_table_of_trials_is_what_the_backtest_deflates_with(
    finished: Path, bars: Path, tmp_path: Path, call: Call
) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    table = pd.read_parquet(finished / "trials.parquet").set_index("date")
    assert table.shape[1] == 3 * 2  # every temperature scale was a choice too
    for trial in summary["trials"]:
        column = table[f"trial {trial['trial']}, scale {trial['temperature_scale']:g}"]
        # days do not know a fill on the very last bar's close otherwise than the account does
        assert column.sum() == pytest.approx(trial["net_pnl"], abs=0.01)
    arguments = ["--bundle", finished / "bundle", "--data", bars, "--out", tmp_path / "judged"]
    code, _, err = call("backtest", *arguments, "--trials", finished / "trials.parquet")
    assert code == 0, err
    judged = json.loads((tmp_path / "judged" / "kpis.json").read_text())
    assert judged["statistics"]["trials"] == 6


@pytest.mark.ray
def test_the_study_and_the_sessions_are_those_of_the_trials(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    study = opened(finished / "study.journal")
    values = {t.user_attrs["trial"]: t.value for t in study.trials}
    assert values == {row["trial"]: row["net_pnl"] for row in summary["trials"]}
    shown = {group.name for group in sessions(finished / "hparams")}
    assert shown == {f"{row['trial']:04d}" for row in summary["trials"]}


@pytest.mark.ray
def test_ended_trials_keep_two_checkpoints_at_most_and_tunes_files_go(finished: Path) -> None:
    for row in json.loads((finished / "summary.json").read_text())["trials"]:
        run = RunFolder(finished / "trials" / f"{row['trial']:04d}")
        kept = run.checkpoints()
        assert set(kept) == {kept[-1], run.best()}
        assert int(kept[-1].name) == row["iterations"]
    assert not (finished / "tune").exists()


@pytest.mark.ray
def test_the_report_is_whole(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    for words in ("parcoords", "Learning curves", "PED-ANOVA", "training.actor_lr", "trial 2"):
        assert words in html
    assert " training bars, " in html  # which the size is from
    assert "<script src" not in html


@pytest.mark.ray
def test_a_sweep_or_any_trial_of_it_is_exported_in_one_step(
    finished: Path, tmp_path: Path, call: Call
) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    code, out, err = call("export", finished, "--out", tmp_path / "best")
    assert code == 0, err
    assert f"of trial {summary['best_trial']} in" in out
    ours = load_bundle(tmp_path / "best").manifest["files"]
    assert ours == load_bundle(finished / "bundle").manifest["files"]
    other = (summary["best_trial"] + 1) % 3
    code, out, err = call("export", finished, "--trial", other, "--out", tmp_path / "other")
    assert code == 0, err
    bundle = load_bundle(tmp_path / "other")
    assert bundle.manifest["training"]["sweep"]["trial"] == other
    code, _, err = call("export", finished, "--trial", 7, "--out", tmp_path / "none")
    assert code == 2
    assert "has no trial 7" in err


@pytest.mark.ray
def test_more_samples_are_added_to_a_finished_sweep(
    finished: Path, bars: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    before = {n: rows_of(out / "trials" / f"{n:04d}") for n in range(3)}
    code, text, err = call("tune", "--data", bars, "--out", out, "--samples", 4, "--resume")
    assert code == 0, err
    assert "3 are done" in text
    assert {n: rows_of(out / "trials" / f"{n:04d}") for n in range(3)} == before
    history = read_history((out / "results.jsonl").read_text().splitlines())
    assert sorted(history) == [0, 1, 2, 3]
    values = [str(trial.params) for trial in history.values()]
    assert len(set(values)) == 4, "the search drew the same values again"
    table = pd.read_parquet(out / "trials.parquet")
    assert table.shape[1] == 1 + 4 * 2
    assert np.isfinite(table.drop(columns="date").to_numpy()).all()


@pytest.mark.ray
def test_another_sweep_or_other_data_are_not_mixed_in(
    finished: Path, sweep: Path, bars: Path, tmp_path: Path, call: Call
) -> None:
    code, _, err = call("tune", "--sweep", sweep, "--data", bars, "--out", finished)
    assert code == 2
    assert "holds a sweep already: continue it with --resume" in err
    code, _, err = call("tune", "--data", bars, "--out", finished, "--seed", 5, "--resume")
    assert code == 1
    assert "--resume: the sweep file differs" in err
    code, _, err = call("tune", "--data", bars, "--out", tmp_path / "none", "--resume")
    assert code == 2
    assert "there is no sweep in" in err
    code, _, err = call("tune", "--data", bars, "--out", tmp_path / "none")
    assert code == 2
    assert "--sweep is required" in err


@pytest.mark.ray
def test_a_trial_that_cannot_fit_or_learn_is_a_clear_error(
    bars: Path, tmp_path: Path, call: Call, ray_instance: None
) -> None:
    file = sweep_file(tmp_path / "s.yaml", {"training.batch_size": {"choice": [128, 256]}})
    few = ["tune", "--sweep", file, "--data", bars]
    code, _, err = call(*few, "--num-env-runners", 4, "--out", tmp_path / "big")
    assert code == 1
    assert "a trial needs 5 CPU" in err
    assert not (tmp_path / "big").exists()
    # each value alone is fine, both together are not: found out by the trial, and not tried again
    clash = {
        "training.batch_size": {"choice": [256]},
        "training.steps_per_update": {"choice": [128]},
    }
    file = sweep_file(tmp_path / "clash.yaml", clash, samples=1, training={"steps_per_update": 512})
    code, _, err = call("tune", "--sweep", file, "--data", bars, "--out", tmp_path / "clash")
    assert code == 1
    assert "no trial has a result" in err
    assert "batch_size must not exceed" in err


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_driver_loses_no_finished_trial_and_no_checkpoint(
    bars: Path, tmp_path: Path, call: Call, ray_instance: None
) -> None:
    file = sweep_file(tmp_path / "s.yaml", SPACE, samples=3, training={"iterations": 4})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rllib_tactical", "tune", "--sweep", str(file)]
    command += ["--data", str(bars), "--out", str(out), "--max-concurrent", "1"]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 200
            second = out / "trials" / "0001" / "checkpoints" / "000001" / "checkpoint.json"
            while not second.is_file():
                assert driver.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.02)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    first = rows_of(out / "trials" / "0000")
    wait_until_quiet(out / "trials" / "0001")
    second_rows = rows_of(out / "trials" / "0001")
    newest = max(int(p.name) for p in (out / "trials" / "0001" / "checkpoints").glob("0*"))
    assert len(first) == 4
    code, text, err = call("tune", "--data", bars, "--out", out, "--resume")
    assert code == 0, err
    assert rows_of(out / "trials" / "0000") == first  # kept, times and all
    again = rows_of(out / "trials" / "0001")
    assert again[:newest] == second_rows[:newest]  # continued from its newest checkpoint
    assert [row["iteration"] for row in again] == [1, 2, 3, 4]
    assert "trial 0: iteration" not in text  # nothing of it was reported anew
    summary = json.loads((out / "summary.json").read_text())
    assert [trial["status"] for trial in summary["trials"]] == ["finished"] * 3


def wait_until_quiet(folder: Path) -> None:
    """Wait until the dead driver's worker has ended too: Ray ends it when it notices."""
    before, since = None, time.monotonic()
    while time.monotonic() - since < 3:
        now = (folder / "progress.jsonl").stat().st_mtime_ns
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.1)


def test_trials_are_as_many_as_there_are_resources_for() -> None:
    spec = with_changes(parse(), {"num_env_runners": 2})
    assert bundles_of(spec.config, 1) == [{"CPU": 1.0}] * 3
    assert room_for(spec.config, 1, {"CPU": 10.0}) == 3
    with pytest.raises(TrainingError, match=r"a trial needs 3 CPU .* the Ray cluster has 2"):
        room_for(spec.config, 1, {"CPU": 2.0})
    gpu = with_changes(parse(), {"num_env_runners": 1, "num_learners": 1, "learner_gpus": 1})
    with pytest.raises(ConfigError, match="the Ray cluster must have 1 GPUs, found 0"):
        room_for(gpu.config, 1, {"CPU": 16.0})


def test_a_validation_worker_without_an_instrument_needs_no_cpu() -> None:
    training = parse().config.training
    config = TacticalConfig(
        training=dataclasses.replace(
            training, num_env_runners=1, validation=ValidationConfig(workers=4)
        )
    )
    assert [len(bundles_of(config, count)) for count in (1, 3, 9)] == [3, 5, 6]
    assert [cpus_of(config, count) for count in (1, 3, 9)] == [2, 4, 5]

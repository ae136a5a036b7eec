"""A real, short training on a real Ray: progress, checkpoints, resume, export."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint, read_weights
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.main import main
from rllib_tactical.config.curriculum import StageConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import (
    ConfigError,
    DataError,
    TrainingError,
    UnreadableError,
    UsageError,
)
from rllib_tactical.rl import train
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.synthetic import make_market
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def run(bars, tmp_path_factory, ray_instance):
    """A finished run of two iterations, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "first"
    said: list[str] = []
    train([bars], out, small_config(), log=said.append)
    return out, said


def progress(out):
    return [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]


def test_a_line_per_iteration(run):
    out, said = run
    lines = [line for line in said if line.startswith("iter")]
    assert len(lines) == 2
    for word in ("steps", "reward", "P&L", "entropy", "left", "/s"):
        assert word in lines[-1]
    rows = progress(out)
    assert [row["iteration"] for row in rows] == [1, 2]
    assert [row["env_steps"] for row in rows] == [512, 1024]
    for agent in AGENTS:
        assert 0.9 < rows[-1][f"entropy_{agent}"] <= math.log(3) + 1e-6


def test_tensorboard_reads_the_results(run):
    out, _ = run
    events = EventAccumulator(str(out)).Reload()
    scalars = events.Scalars("tactical/entropy_fvg")
    assert [event.step for event in scalars] == [512, 1024]


def test_checkpoints_hold_what_export_needs(run, tmp_path):
    out, _ = run
    checkpoints = RunFolder(out).checkpoints()
    assert [path.name for path in checkpoints] == ["000001", "000002"]
    assert read_checkpoint(checkpoints[-1])["env_steps"] == 1024
    bundle = export_run(checkpoints[-1], tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").bundle_id == bundle.bundle_id
    for name, value in read_weights(checkpoints[-1]).items():
        np.testing.assert_array_equal(bundle.weights[name], value)
    assert bundle.manifest["training"]["env_steps"] == 1024
    assert bundle.instrument.base_quantity is not None


@pytest.mark.parametrize(("learners", "needed"), [(0, 1_000), (2, 2_000)])
def test_gpus_that_are_not_there_are_missed_before_anything_is_made(
    bars, tmp_path, ray_instance, learners, needed
):
    config = small_config(learner_gpus=1_000, num_learners=learners)
    with pytest.raises(ConfigError, match=f"learner_gpus: .* must have {needed} GPUs, found"):
        train([bars], tmp_path / "run", config, log=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(run, bars):
    out, _ = run
    before = (out / "progress.jsonl").read_text()
    with pytest.raises(UsageError, match="--resume"):
        train([bars], out, small_config(), log=lambda line: None)
    assert (out / "progress.jsonl").read_text() == before


def test_resume_continues_the_counts(run, bars):
    out, _ = run
    train([bars], out, small_config(iterations=3), resume=True, log=lambda line: None)
    rows = progress(out)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert rows[-1]["env_steps"] == 1536
    assert [path.name for path in RunFolder(out).checkpoints()][-1] == "000003"


def test_the_closing_note_is_about_the_checkpoint_that_export_takes(bars, run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    arguments = ["train", "--data", str(bars.path), "--instrument", "SYNTH", "--out", str(out)]

    def said(best_trades):
        for path in RunFolder(out).checkpoints():
            state = read_checkpoint(path)
            earlier = path != RunFolder(out).checkpoints()[-1]
            trades = best_trades if earlier else 99
            state["validation"] |= {"trades": trades, "training_rule_trades": 99}
            state["validation"]["net_pnl"] = 1e6 * earlier
            (path / "checkpoint.json").write_text(json.dumps(state))
        result = CliRunner().invoke(main, [*arguments, "--resume"])
        assert result.exit_code == 0, result.output
        return [line for line in result.output.splitlines() if line.startswith("note")]

    assert said(best_trades=80) == []
    (note,) = said(best_trades=9)
    best = RunFolder(out).best()
    assert best is not None
    assert best.name in note


def test_resume_refuses_other_settings_and_other_data(run, bars, tmp_path):
    out, _ = run
    with pytest.raises(TrainingError, match=r"training\.gamma"):
        train([bars], out, small_config(gamma=0.5), resume=True)
    other = tmp_path / "other.parquet"
    write_bars(make_market("noise", 2, 6_000, 0.0).bars, other)
    with pytest.raises(TrainingError, match="not the file"):
        train([DataSource(other, bars.instrument)], out, small_config(), resume=True)
    with pytest.raises(UnreadableError, match=r"run\.json"):
        train([bars], tmp_path / "nothing", small_config(), resume=True)


def test_a_failed_start_leaves_no_run(bars, tmp_path, ray_instance):
    config = small_config(num_env_runners=16, num_envs=4, steps_per_update=512)
    with pytest.raises(TrainingError, match="need 16 CPUs"):
        train([bars], tmp_path / "run", config, log=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_too_few_bars_is_said_before_anything_starts(bars, tmp_path):
    short = tmp_path / "short.parquet"
    write_bars(make_market("momentum", 1, 1_000, 0.0).bars, short)
    with pytest.raises(DataError, match="split"):
        train([DataSource(short, bars.instrument)], tmp_path / "run", small_config())
    assert not (tmp_path / "run").exists()


def test_a_later_stage_too_short_is_refused_before_anything_starts(bars, tmp_path):
    stages = (
        StageConfig(name="short", market="gap", bars=900, max_iterations=1),
        StageConfig(name="real", market="data"),
    )
    with pytest.raises(ConfigError, match="stage 'short'"):
        train([bars], tmp_path / "run", small_config(curriculum=stages))
    assert not (tmp_path / "run").exists()


def test_several_instruments_train_together(bars, tmp_path, ray_instance):
    """Two instruments in one run: both are sampled, validated and exportable, each by name."""
    other = make_market("gap", 2, 6_000, 0.0)
    other_path = tmp_path / "other.parquet"
    write_bars(other.bars, other_path)
    second = dataclasses.replace(other.instrument, symbol="OTHER", point_value=2.0)
    sources = [bars, DataSource(other_path, second)]
    result = train(sources, tmp_path / "run", small_config(), log=lambda line: None)
    prepared = result.market
    assert result.validation is not None
    run = RunFolder(tmp_path / "run").read()
    assert [part["instrument"]["symbol"] for part in run["parts"]] == ["SYNTH", "OTHER"]
    with pytest.raises(UsageError, match="SYNTH, OTHER"):
        export_run(tmp_path / "run", tmp_path / "bundle")
    bundle = export_run(tmp_path / "run", tmp_path / "bundle", "OTHER")
    assert bundle.instrument == second
    assert bundle.manifest["training"]["data"]["name"] == "other.parquet"
    assert len(bundle.manifest["training"]["trained_with"]) == 1

    algorithm = build_config(
        small_config(), MarketHandle(prepared.spec), prepared.standardization
    ).build_algo()
    try:
        segments = algorithm.env_runner.sample(num_timesteps=64)
        owner = np.searchsorted(
            prepared.spec.histories.offsets, [s.t[0] for s in segments], "right"
        )
        assert np.bincount(owner).tolist() == [0, 4, 4]
    finally:
        algorithm.stop()


def test_a_run_of_another_version_says_so(run, bars, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run[0], other)
    settings = json.loads((other / "run.json").read_text())
    settings["config"]["training"]["gone"] = 1
    (other / "run.json").write_text(json.dumps(settings))
    for work in (
        lambda: export_run(other, tmp_path / "bundle"),
        lambda: train([bars], other, small_config(), resume=True, log=lambda line: None),
    ):
        with pytest.raises(ConfigError, match=r"training\.gone.*another version of this program"):
            work()

"""Runs that are killed with SIGKILL and resumed, beside one that was never interrupted."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint, read_weights
from rllib_tactical.config.curriculum import StageConfig
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import StopConfig, TrainingConfig, ValidationConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.rl import train
from rllib_tactical.synthetic import make_market
from tests.version1 import TIMES

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CONFIG = TacticalConfig(
    # whatever draws: dropout, order of rows, costs by account, actions, starts of episodes
    model=ModelConfig(hidden_sizes=(32,), dropout_rate=0.1),
    # barely trained actors trade too
    aggregation=AggregationConfig(entry_veto=False, execution_threshold=0.1, min_agents=1),
    training=TrainingConfig(
        iterations=14,
        actor_lr=1e-2,
        actor_lr_end_factor=0.2,
        entropy_end_factor=0.5,
        steps_per_update=512,
        batch_size=256,
        epochs=1,
        num_envs=32,
        accounts_per_bar=4,
        num_env_runners=0,
        episodes=EpisodeConfig(length=40, cost_factors=(0.5, 2.0)),
        train_confidence=1.0,
        temperature_scales=(0.02, 0.01),
        checkpoint_every=3,
        keep_checkpoints=2,
        validation=ValidationConfig(every=2, workers=1),
        stop=StopConfig(patience=50),
        record_rollouts=True,
        curriculum=(
            StageConfig(name="clean", market="momentum", bars=4_000, max_iterations=7),
            StageConfig(name="real", market="data"),
        ),
    ),
)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    made = make_market("momentum", 1, 6_000, 0.0)
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(made.bars, path)
    return path, load_instrument("SYNTH")


def changed(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


def kill_after(iterations, config, bars, out, folder):
    """Start a run as a user does and kill it, hard, once so many iterations are written down."""
    settings = folder / "config.yaml"
    settings.write_text(yaml.safe_dump({"tactical_marl": to_dict(config)}))
    command = [sys.executable, "-m", "rllib_tactical.train", "--data", bars, "--out", out]
    process = subprocess.Popen(
        [*map(str, command), "--instrument", "SYNTH", "--config", str(settings)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    family = []
    try:
        deadline = time.monotonic() + 200
        while len(RunFolder(out).progress()) < iterations:
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for left in family:  # Ray's own processes end by themselves, but not at once
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def rows_of(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in lines]


def test_a_killed_run_resumes_exactly_where_the_uninterrupted_one_would_be(
    market, tmp_path, ray_instance
):
    """Through a change of stage, and with a validation in flight."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train([DataSource(*market)], whole, CONFIG, log=lambda line: None)
    kill_after(11, CONFIG, market[0], cut, tmp_path)
    newest = RunFolder(cut).checkpoints()[-1]
    assert 7 <= read_checkpoint(newest)["iteration"] < 14
    (cut / "rollouts" / ".00112233aabbccdd.tmp.000014-00.parquet").touch()  # as if cut off there
    train([DataSource(*market)], cut, CONFIG, resume=True, log=lambda line: None)

    rows = rows_of(whole / "progress.jsonl")
    assert rows == rows_of(cut / "progress.jsonl")
    assert [row["iteration"] for row in rows] == list(range(1, 15))
    assert [row["stage"] for row in rows] == [0] * 7 + [1] * 7
    judged = rows_of(whole / "validation.jsonl")
    assert judged == rows_of(cut / "validation.jsonl")
    # each is known at the next one, or when its stage or the run ends
    known = [(row["iteration"], row["known_at"]) for row in judged]
    assert known == [(2, 4), (4, 6), (6, 7), (8, 10), (10, 12), (12, 14), (14, 14)]
    assert any(row["trades"] + row["training_rule_trades"] for row in judged)
    ends = [RunFolder(path).checkpoints() for path in (whole, cut)]
    assert [path.name for path in ends[0]] == [path.name for path in ends[1]]
    one, other = (read_weights(paths[-1]) for paths in ends)
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)
    states = [read_checkpoint(paths[-1]) | {"seconds": 0} for paths in ends]
    assert states[0] == states[1]
    names = [f"{k:06d}-00.parquet" for k in range(1, 15)]
    assert sorted(path.name for path in (cut / "rollouts").iterdir()) == names
    for name in names:
        assert (cut / "rollouts" / name).read_bytes() == (whole / "rollouts" / name).read_bytes()


def test_a_killed_run_with_a_remote_runner_resumes_exactly(market, tmp_path, ray_instance):
    config = changed(num_env_runners=1, iterations=8, curriculum=(), validation=ValidationConfig())
    kill_after(5, config, market[0], tmp_path / "run", tmp_path)
    train([DataSource(*market)], tmp_path / "run", config, resume=True, log=lambda line: None)
    train([DataSource(*market)], tmp_path / "whole", config, log=lambda line: None)
    rows, whole = (rows_of(tmp_path / name / "progress.jsonl") for name in ("run", "whole"))
    assert [row["iteration"] for row in rows] == list(range(1, 9))
    assert rows == whole

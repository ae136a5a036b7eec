"""Runs killed between a row and the checkpoint of its iteration: who keeps rows drops them."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.rl import train
from rllib_tactical.synthetic import make_market

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STEPS = 512
CONFIG = TacticalConfig(
    training=TrainingConfig(
        iterations=4,
        steps_per_update=STEPS,
        batch_size=256,
        epochs=1,
        num_envs=32,
        accounts_per_bar=4,
        num_env_runners=0,
        episodes=EpisodeConfig(length=32),
        checkpoint_every=2,
        record_rollouts=True,
    )
)


@dataclass(frozen=True)
class Restarted:
    """A run that was killed, and that then went on to iteration ``last`` and ended there."""

    out: Path
    last: int
    mlflow: str | None

    @property
    def iterations(self) -> list[int]:
        return list(range(1, self.last + 1))

    @property
    def steps(self) -> list[int]:
        return [STEPS * k for k in self.iterations]


def killed(n: int, arguments: list[str]) -> None:
    """Run a command and kill it, hard, where it begins to write its n-th checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rl.stop_at_save", str(n), *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    family = []
    try:
        deadline = time.monotonic() + 200
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for left in family:  # Ray's own processes end by themselves, but not at once
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


@pytest.fixture(
    scope="module", params=[(1, 1), (2, 3)], ids=["before the first checkpoint", "after one"]
)
def restarted(request, tmp_path_factory, ray_instance):
    """Killed at a checkpoint, ended an iteration earlier: what is left of later rows is seen."""
    checkpoint, last = request.param
    folder = tmp_path_factory.mktemp("restart")
    out, bars, settings = folder / "run", folder / "bars.parquet", folder / "config.yaml"
    write_bars(make_market("momentum", 1, 6_000, 0.0).bars, bars)
    settings.write_text(yaml.safe_dump({"tactical_marl": to_dict(CONFIG)}))
    store = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow = store if find_spec("mlflow") and find_spec("sqlalchemy") else None
    command = ["train", "--data", bars, "--instrument", "SYNTH", "--out", out, "--config", settings]
    tracking = [] if mlflow is None else ["--mlflow", mlflow]
    killed(checkpoint, [*map(str, command), *tracking])

    rows = RunFolder(out).progress()
    assert [row["iteration"] for row in rows] == list(range(1, 2 * checkpoint + 1))
    assert len(RunFolder(out).checkpoints()) == checkpoint - 1
    shorter = dataclasses.replace(CONFIG.training, iterations=last)
    train(
        [DataSource(bars, load_instrument("SYNTH"))],
        out,
        dataclasses.replace(CONFIG, training=shorter),
        resume=True,
        log=lambda line: None,
        mlflow=mlflow,
    )
    return Restarted(out, last, mlflow)


def test_progress_has_every_iteration_once(restarted):
    lines = (restarted.out / "progress.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == restarted.iterations


def test_validations_that_no_checkpoint_knows_are_done_again(restarted):
    known = [row["known_at"] for row in RunFolder(restarted.out).validations()]
    assert known == [k for k in restarted.iterations if k % 2 == 0 or k == restarted.last]


def test_tensorboard_shows_every_iteration_once(restarted):
    events = EventAccumulator(str(restarted.out)).Reload()
    rows = RunFolder(restarted.out).progress()
    for name in ("pnl", "entropy_fvg", "total_seconds"):
        shown = events.Scalars(f"tactical/{name}")
        assert [event.step for event in shown] == restarted.steps
        assert [event.value for event in shown] == pytest.approx([row[name] for row in rows])


def test_rollouts_are_those_of_the_iterations_that_count(restarted):
    files = sorted((restarted.out / "rollouts").iterdir())
    assert [file.name for file in files] == [f"{k:06d}-00.parquet" for k in restarted.iterations]
    assert [pq.read_metadata(file).num_rows for file in files] == [STEPS] * restarted.last


def test_mlflow_has_every_iteration_once(restarted):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=restarted.mlflow)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    rows = RunFolder(restarted.out).progress()
    for name in ("pnl", "entropy_fvg", "total_seconds"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == restarted.steps
        assert [point.value for point in points] == [row[name] for row in rows]

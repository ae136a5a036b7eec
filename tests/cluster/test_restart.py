"""A trial of a sweep whose process is killed around its first checkpoint, and begins again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.sweep.history import RESULT
from rllib_tactical.synthetic import make_market
from tests.cluster.faults import FAULTS, LOG, kill_twice

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ITERATIONS, STEPS = 3, 256
SWEEP = {
    "samples": 1,
    "space": {"training.actor_lr": {"choice": [0.0001, 0.0003]}},
    "config": {
        "training": {
            "iterations": ITERATIONS,
            "steps_per_update": STEPS,
            "batch_size": 128,
            "epochs": 1,
            "num_envs": 32,
            "accounts_per_bar": 4,
            "num_env_runners": 0,
            "checkpoint_every": 1,
            "episodes": {"kind": "bars", "length": 32, "cost_factors": [1.0, 1.0]},
        }
    },
}


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Path]:
    """A Ray whose workers have the faults; yields the file that says which have happened."""
    limit_threads()
    happened = tmp_path / "faults.txt"
    ray.init(
        "local",
        num_cpus=1,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env={
            "env_vars": {LOG: str(happened), "OMP_NUM_THREADS": "1"},
            "worker_process_setup_hook": kill_twice,
        },
    )
    yield happened
    ray.shutdown()


def test_a_trial_killed_around_its_first_checkpoint_keeps_no_row_twice(
    faults: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars, sweep, out = tmp_path / "SYNTH.parquet", tmp_path / "sweep.yaml", tmp_path / "sweep"
    write_bars(make_market("momentum", 1, 3_000, 0.0).bars, bars)
    sweep.write_text(yaml.safe_dump({"tactical_sweep": SWEEP}), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        cli.run(["tune", "--sweep", str(sweep), "--data", str(bars), "--out", str(out)])
    assert not stop.value.code, capsys.readouterr()
    assert faults.read_text(encoding="utf-8").splitlines() == list(FAULTS)

    trial = out / "trials" / "0000"
    rows = read(trial / "progress.jsonl")
    assert [row["iteration"] for row in rows] == list(range(1, ITERATIONS + 1))
    judged = [row["known_at"] for row in read(trial / "validation.jsonl")]
    assert judged == list(range(1, ITERATIONS + 1))
    shown = EventAccumulator(str(trial)).Reload().Scalars("tactical/total_seconds")
    assert [event.step for event in shown] == [STEPS * k for k in range(1, ITERATIONS + 1)]
    assert [event.value for event in shown] == pytest.approx([row["total_seconds"] for row in rows])
    # what the sweep was told are the rows that count, not those of a process before
    results = [event for event in read(out / "results.jsonl") if event["event"] == RESULT]
    for mine, theirs in (("seconds", "total_seconds"), ("net_pnl", "validation_net_pnl")):
        assert [event[mine] for event in results] == [row[theirs] for row in rows]
    (summary,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["trials"]
    assert summary["status"] == "finished"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

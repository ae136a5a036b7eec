"""A sweep on a cluster of several nodes, on one machine, of which one dies."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.synthetic import make_market
from tests.cluster.runs import alive

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAMPLES, ITERATIONS = 3, 16
PROGRESS = "trials/*/progress.jsonl"
SWEEP = {
    "samples": SAMPLES,
    "space": {"training.actor_lr": {"choice": [0.0001, 0.0003, 0.001]}},
    "config": {
        "training": {
            "iterations": ITERATIONS,
            "steps_per_update": 256,
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


def test_a_node_dies_during_a_sweep_and_the_sweep_finishes(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trials, a node each; one node is killed when a trial has learnt something."""
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1) for _ in range(2))}
    bars, sweep, out = tmp_path / "SYNTH.parquet", tmp_path / "sweep.yaml", tmp_path / "sweep"
    write_bars(make_market("momentum", 1, 3_000, 0.0).bars, bars)
    sweep.write_text(yaml.safe_dump({"tactical_sweep": SWEEP}), encoding="utf-8")
    reached: dict[str, int] = {}
    over = threading.Event()

    def kill_one() -> None:
        while not (under_way := at_work(out)) and not over.wait(0.02):
            pass
        if under_way:
            lost = next(node for _, node in alive("") if node in nodes)
            reached.update(under_way)
            cluster.remove_node(nodes[lost], allow_graceful=False)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        with pytest.raises(SystemExit) as stop:
            cli.run(["tune", "--sweep", str(sweep), "--data", str(bars), "--out", str(out)])
    finally:
        over.set()
        killer.join()
    said = capsys.readouterr()
    assert not stop.value.code, said
    assert reached, "the sweep was over before a node could be killed"
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2  # the head and one node
    summary = json.loads((out / "summary.json").read_text())
    assert [trial["status"] for trial in summary["trials"]] == ["finished"] * SAMPLES
    for trial in out.glob("trials/*"):
        assert [row["iteration"] for row in rows_of(trial)] == list(range(1, ITERATIONS + 1))
    traded = any(
        trial["trades"] for trial in summary["trials"] if trial["trial"] == summary["best_trial"]
    )
    # of untrained trials the best may be to make no trade: then no bundle is made unasked
    assert traded == (summary["bundle_id"] is not None)
    if traded:
        assert load_bundle(out / "bundle").bundle_id == summary["bundle_id"]


def at_work(out: Path) -> dict[str, int]:
    """Return the iterations of trials that have a checkpoint and some way to go."""
    rows = {path.parent.name: len(rows_of(path.parent)) for path in out.glob(PROGRESS)}
    return {trial: count for trial, count in rows.items() if 2 <= count <= ITERATIONS // 2}


def rows_of(trial: Path) -> list[dict[str, Any]]:
    lines = (trial / "progress.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]  # what is being written has no end yet

"""Training on a cluster of several nodes, on one machine: what happens when parts of it die."""

import time
from typing import Any

import numpy as np
import psutil
import pytest

from rllib_tactical.artifacts.run_folder import read_checkpoint, read_weights
from rllib_tactical.bundle.export import export_run
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.tracking.defaults import run_folder_callbacks
from rllib_tactical.rl.training.trainer import run_training
from tests.cluster.runs import (
    LEARNER,
    RUNNER,
    EachRow,
    alive,
    assert_finite,
    changed,
    rows_of,
    start,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_runners_and_nodes_die_and_return_and_the_run_goes_on(cluster, market, tmp_path):
    """Two runners on a node each: one process is killed, then a node, then a node is added."""
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1) for _ in range(2))}
    config = changed(num_env_runners=2, num_envs=16, iterations=12, checkpoint_every=6)
    folder = start(tmp_path / "run", market, config)
    held: list[Any] = []
    gone: set[int | str] = set()

    def both_are_back():
        return len(alive(RUNNER)) == 2 and not gone & {
            part for pair in alive(RUNNER) for part in pair
        }

    def report(row):
        held.append(row["env_runners"])
        (process, node), *_ = alive(RUNNER)
        if row["iteration"] == 2:
            gone.add(process)
            psutil.Process(process).kill()
        elif row["iteration"] == 4:
            wait_for(both_are_back)
        elif row["iteration"] == 7:
            gone.add(node)
            cluster.remove_node(nodes[node], allow_graceful=False)
            wait_for(lambda: node not in {place for _, place in alive(RUNNER)})
        elif row["iteration"] == 9:
            cluster.add_node(num_cpus=1)
            wait_for(both_are_back)

    result = run_training(config, market, folder, [*run_folder_callbacks(), EachRow(report)])
    rows = rows_of(folder)
    assert [row["iteration"] for row in rows] == list(range(1, 13))
    # a batch is a batch: the runner that is left samples for both
    assert [row["env_steps"] for row in rows] == [256 * i for i in range(1, 13)]
    assert_finite(rows)
    assert held[:2] == [2, 2]
    assert held[2] == 1
    assert held[7:9] == [1, 1]
    assert held[6] == held[-1] == 2
    assert read_checkpoint(result.last_checkpoint)["env_steps"] == 12 * 256
    export_run(folder.path, tmp_path / "bundle")


def test_a_lost_learner_ends_the_run_with_a_checkpoint_to_resume_from(cluster, market, tmp_path):
    """Two learners and a runner on three nodes; a learner's node dies; one learner goes on."""
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1) for _ in range(3))}
    config = changed(num_learners=2, iterations=6, checkpoint_every=2)
    folder = start(tmp_path / "run", market, config)

    def report(row):
        if row["iteration"] == 3:
            (_, gone), _ = alive(LEARNER)
            cluster.remove_node(nodes[gone], allow_graceful=False)
            wait_for(lambda: len(alive(LEARNER)) == 1)  # its processes outlive the node a little

    with pytest.raises(TrainingError, match=r"a learner was lost in iteration 4.*--resume"):
        run_training(config, market, folder, [*run_folder_callbacks(), EachRow(report)])
    assert [path.name for path in folder.checkpoints()] == ["000002"]
    assert [row["iteration"] for row in rows_of(folder)] == [1, 2, 3]
    learnt = read_weights(folder.checkpoints()[-1])

    fewer = changed(num_learners=1, iterations=4, checkpoint_every=2)
    run_training(fewer, market, folder, run_folder_callbacks())
    rows = rows_of(folder)
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert [row["env_steps"] for row in rows] == [256, 512, 768, 1024]
    assert_finite(rows)
    assert [path.name for path in folder.checkpoints()] == ["000002", "000004"]
    later = read_weights(folder.checkpoints()[-1])
    moved = max(float(np.abs(later[name] - learnt[name]).max()) for name in learnt)
    assert 0 < moved < 0.05

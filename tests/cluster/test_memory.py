"""Memory of a long run: driver, env runner and learner must not grow with the iterations."""

import psutil
import pytest

from rllib_tactical.config.training import StopConfig
from rllib_tactical.rl.training.trainer import run_training
from tests.cluster.runs import LEARNER, RUNNER, EachRow, alive, changed, start
from tests.small_ray import small_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FIRST, LAST = 50, 200
ALLOWED_BYTES = 12e6
"""Growth of one process between the two; the matrices of one batch leaked each time are 16 MB."""


@pytest.fixture
def ray_instance():
    with small_ray():
        yield


def private_bytes():
    """Return the memory that the run's processes hold, without what they share with others."""
    processes = {"driver": psutil.Process().pid}
    ((processes["runner"], _),), ((processes["learner"], _),) = alive(RUNNER), alive(LEARNER)
    return {name: psutil.Process(pid).memory_full_info().uss for name, pid in processes.items()}


def test_memory_is_steady_over_two_hundred_iterations(ray_instance, market, tmp_path):
    stop = StopConfig(patience=0)  # noise is validated: no validation is better than the first
    config = changed(num_learners=1, iterations=LAST, checkpoint_every=FIRST // 2, stop=stop)
    found = {}

    def report(row):
        if row["iteration"] in (FIRST, LAST):
            found[row["iteration"]] = private_bytes()

    run_training(config, market, start(tmp_path / "run", market, config), [EachRow(report)])
    growth = {name: found[LAST][name] - found[FIRST][name] for name in found[LAST]}
    assert max(growth.values()) <= ALLOWED_BYTES, (growth, found)

"""``Algorithm.from_checkpoint`` in a process that knows nothing but the path of a checkpoint."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_tactical.artifacts.run_folder import RLLIB, RunFolder
from rllib_tactical.rl import train
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from tests.rl.small import small_config
from tests.small_ray import small_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def digest_of(algorithm):
    """Return the SHA-256 of the actors' weights."""
    digest = hashlib.sha256()
    for name, value in sorted(actor_weights_of(algorithm).items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


def go_on(path):
    """Restore a checkpoint, train one iteration, and print what came of it."""
    with small_ray():
        algorithm = Algorithm.from_checkpoint(path)
        restored = digest_of(algorithm)
        result = algorithm.train()
        print(json.dumps([restored, digest_of(algorithm), result["training_iteration"]]))
        algorithm.stop()


def in_a_new_process(path):
    code = f"from tests.rl.test_from_checkpoint import go_on; go_on({str(path)!r})"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_checkpoint_goes_on_in_a_new_process(bars, tmp_path, ray_instance):
    """As it went on in the run that wrote it, sampled episodes included, bit for bit."""
    data = tmp_path / bars.path.name
    shutil.copy(bars.path, data)
    source = type(bars).of(data, "SYNTH")
    config = small_config(record_rollouts=True)
    result = train([source], tmp_path / "run", config, log=lambda line: None)
    first, second = RunFolder(tmp_path / "run").checkpoints()
    weights = []
    for path in (first, second):
        algorithm = build_config(
            config, result.market.handle(), result.market.standardization
        ).build_algo()
        algorithm.restore_from_path(str(path / RLLIB))
        weights.append(digest_of(algorithm))
        algorithm.stop()
    recorded = sorted((tmp_path / "run" / "rollouts").iterdir())
    done = in_a_new_process(first / RLLIB)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [*weights, 2]
    assert sorted((tmp_path / "run" / "rollouts").iterdir()) == recorded

    data.unlink()
    done = in_a_new_process(first / RLLIB)
    assert done.returncode != 0
    assert f"(SYNTH) needs {data}: " in done.stderr.splitlines()[-1]

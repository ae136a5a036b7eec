"""Whatever watches or interrupts a run leaves the weights that it ends with as they are."""

from __future__ import annotations

import dataclasses
import os
import random
import signal

import numpy as np
import pytest
import torch

from rllib_tactical.artifacts.run_folder import RunFolder, read_weights
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig, ValidationConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.rl import TrainingCallback, train

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DEFAULTS = TrainingConfig(
    iterations=4,
    steps_per_update=2_048,
    batch_size=512,
    episodes=EpisodeConfig(length=48),
    # over another number of iterations the rates would follow another line
    actor_lr_end_factor=1.0,
)
"""The defaults, a remote env runner among them, at a size that a test can wait for."""

METRICS = ("env_steps", "episodes", "reward_mean", "pnl", "entropy_fvg", "critic_loss")


class Draws(TrainingCallback):
    """Draws from every generator of the process, whenever it is called."""

    def _draw(self, *arguments):
        torch.rand(7)
        np.random.rand(7)
        random.random()

    on_start = on_validation = on_iteration = on_checkpoint = on_end = _draw


def interrupt_at(iteration):
    def log(line):
        if line.startswith(f"iter    {iteration}"):
            os.kill(os.getpid(), signal.SIGINT)

    return log


def changed(**changes):
    return TacticalConfig(training=dataclasses.replace(DEFAULTS, **changes))


@pytest.fixture(scope="module")
def ended(bars, tmp_path_factory, ray_instance):
    """Return how a run ends: its last weights, and rows of metrics."""
    folders = iter(range(100))

    def end(*parts, callbacks=()):
        out = tmp_path_factory.mktemp("runs") / str(next(folders))
        for k, (changes, log) in enumerate(parts):
            try:
                train([bars], out, changed(**changes), resume=k > 0, log=log, callbacks=callbacks)
            except KeyboardInterrupt:
                assert k < len(parts) - 1
        folder = RunFolder(out)
        rows = [{name: row.get(name) for name in METRICS} for row in folder.progress()]
        return read_weights(folder.checkpoints()[-1]), rows

    return end


def quiet(line):
    """Print nothing."""


@pytest.fixture(scope="module")
def whole(ended):
    return ended(({}, quiet))


WAYS = {
    "validated after each iteration": [({"validation": ValidationConfig(every=1)}, quiet)],
    "validated by a worker": [({"validation": ValidationConfig(every=1, workers=1)}, quiet)],
    "checkpoints after each iteration": [({"checkpoint_every": 1}, quiet)],
    "interrupted and resumed": [({}, interrupt_at(2)), ({}, quiet)],
    "interrupted with all of it": [
        ({"validation": ValidationConfig(every=1, workers=1)}, interrupt_at(1)),
        ({"checkpoint_every": 1}, interrupt_at(3)),
        ({"validation": ValidationConfig(every=2)}, quiet),
    ],
    "ended and given more iterations": [({"iterations": 2}, quiet), ({}, quiet)],
}


@pytest.mark.parametrize("parts", WAYS.values(), ids=WAYS)
def test_a_run_ends_with_the_same_weights(whole, ended, parts):
    weights, rows = ended(*parts)
    for name, value in whole[0].items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    assert rows == whole[1]


def test_callbacks_may_draw(whole, ended):
    weights, rows = ended(({"validation": ValidationConfig(every=1)}, quiet), callbacks=[Draws()])
    for name, value in whole[0].items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    assert rows == whole[1]

"""When a run validates, changes its stage, diverges and ends."""

import os
import signal

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.config.curriculum import StageConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.errors import (
    TrainingError,
)
from rllib_tactical.rl import train
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


def test_what_is_due_by_episodes_is_not_shifted_by_an_interruption(bars, tmp_path, ray_instance):
    def judged(out):
        return [row["iteration"] for row in RunFolder(out).validations()]

    def interrupt(line):
        if line.startswith("iter    4"):
            os.kill(os.getpid(), signal.SIGINT)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = small_config(iterations=9, checkpoint_every=50, checkpoint_episodes=48)
    train([bars], whole, config, log=lambda line: None)
    assert judged(whole) == [3, 7, 9]
    with pytest.raises(KeyboardInterrupt):
        train([bars], cut, config, log=interrupt)
    train([bars], cut, config, resume=True, log=lambda line: None)
    assert judged(cut) == [3, 5, 7, 9]


def test_a_handful_of_episodes_promotes_no_run(bars, tmp_path, ray_instance):
    stages = (
        StageConfig(name="a", market="gap", bars=4_000, promote_by="reward", promote_at=-1e9),
        StageConfig(name="real", market="data"),
    )
    # about 64 episodes end in an iteration
    config = small_config(iterations=4, curriculum=stages, episodes=EpisodeConfig(length=8))
    train([bars], tmp_path / "run", config, log=lambda line: None)
    rows = RunFolder(tmp_path / "run").progress()
    assert [row["stage"] for row in rows] == [0, 0, 1, 1]
    assert rows[0]["episodes"] < 100 <= rows[1]["episodes"]
    assert all(row["reward_mean"] is not None for row in rows)
    judged = RunFolder(tmp_path / "run").validations()
    assert [row["reward"] is None for row in judged] == [True, False, True, False]


def test_divergence_is_said_at_once(bars, tmp_path, ray_instance):
    config = small_config(actor_lr=1e30, iterations=9, checkpoint_every=9)
    with pytest.raises(TrainingError, match="diverged in iteration"):
        train([bars], tmp_path / "run", config, log=lambda line: None)

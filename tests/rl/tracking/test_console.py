"""What training prints while it goes on."""

from pathlib import Path

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import StopConfig, TrainingConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.tracking.console import ConsoleLogger
from rllib_tactical.rl.training.callbacks import TrainingRun

NO_LIMIT = StopConfig()


def row(iteration, total_seconds):
    """Return an iteration of 10 s and 1,000 steps."""
    figures = {
        "iteration": iteration, "env_steps": 1_000 * iteration, "seconds": 10.0,
        "steps_per_s": 100.0, "total_seconds": total_seconds, "pnl": 0.0, "trades": 0,
    }  # fmt: skip
    for agent in AGENTS:
        figures |= {f"reward_{agent}": None, f"entropy_{agent}": 1.0}
    return figures


def left(*rows, stop=NO_LIMIT, max_seconds=None):
    lines: list[str] = []
    console = ConsoleLogger(lines.append)
    config = TacticalConfig(training=TrainingConfig(iterations=100, stop=stop))
    run = TrainingRun(RunFolder(Path("unused")), config, max_seconds=max_seconds)
    for each in rows:
        console.on_iteration(run, each)
    return lines[-1].rpartition("left ")[2]


def test_the_time_left_counts_validation_and_checkpoints():
    """The first iteration of a resumed run took 10 s; the second 30 s, 20 s of them besides."""
    assert left(row(50, 4_000.0)) == "8:20"
    assert left(row(50, 4_000.0), row(51, 4_030.0)) == "16:20"  # 49 of 20 s


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (StopConfig(max_seconds=120.0), "1:50"),
        (StopConfig(max_seconds=1e6), "16:30"),
        (StopConfig(max_env_steps=5_500), "0:50"),  # 4,500 steps are 5 iterations
        (StopConfig(max_env_steps=500), "0:00"),
    ],
)
def test_a_limit_that_comes_first_shortens_it(stop, said):
    assert left(row(1, 10.0), stop=stop) == said


def test_a_time_limit_of_the_call_takes_the_place_of_iterations():
    assert left(row(1, 10.0), max_seconds=70.0) == "1:00"
    assert left(row(1, 80.0), max_seconds=70.0) == "0:00"

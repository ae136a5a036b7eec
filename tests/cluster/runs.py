"""Small training runs, and which processes of theirs are alive."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray._private.state import actors

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.rl.run_description import run_description
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun
from rllib_tactical.rl.training.market import TrainingMarket

RUNNER = "BatchedEnvRunner"
LEARNER = "_WrappedExecutable"
"""What Ray calls the actors: a learner runs inside a class that Ray makes for it."""

SMALL = TrainingConfig(
    iterations=4,
    steps_per_update=256,
    batch_size=128,
    epochs=1,
    num_envs=32,
    accounts_per_bar=4,
    num_env_runners=1,
    episodes=EpisodeConfig(length=32),
    checkpoint_every=2,
)


def changed(**changes: Any) -> TacticalConfig:
    """Return the small configuration with other training settings."""
    return TacticalConfig(training=dataclasses.replace(SMALL, **changes))


def start(path: Path, market: TrainingMarket, config: TacticalConfig) -> RunFolder:
    """Return a new run folder."""
    folder = RunFolder(path)
    folder.start(run_description(market, config))
    return folder


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the metrics of a run, one row per iteration."""
    return [json.loads(line) for line in (folder.path / "progress.jsonl").read_text().splitlines()]


def assert_finite(rows: list[dict[str, Any]]) -> None:
    """Fail when a metric is neither absent nor finite."""
    for row in rows:
        for name, value in row.items():
            assert value is None or math.isfinite(value), (name, value)


class EachRow(TrainingCallback):
    """Calls a function with the metrics of every iteration."""

    def __init__(self, function: Callable[[Row], None]) -> None:
        self._function = function

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Call the function."""
        self._function(row)


def alive(class_name: str) -> list[tuple[int, str]]:
    """Return (process id, node id) of the living actors whose class name ends so."""
    return sorted(
        (actor["Pid"], actor["Address"]["NodeID"])
        for actor in actors().values()
        if actor["ActorClassName"].endswith(class_name) and actor["State"] == "ALIVE"
    )

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rllib_tactical.cli import main as cli
from rllib_tactical.data.files import write_bars
from rllib_tactical.sweep.spec import SweepSpec, parse_sweep
from rllib_tactical.synthetic import make_market
from tests.small_ray import small_ray

TRAINING = {
    "iterations": 2,
    "steps_per_update": 256,
    "batch_size": 128,
    "epochs": 1,
    "num_envs": 32,
    "accounts_per_bar": 4,
    "num_env_runners": 0,
    "checkpoint_every": 1,
    "episodes": {"kind": "bars", "length": 32, "cost_factors": [1.0, 1.0]},
    # sharp votes pass the threshold, so that even untrained agents trade, also where it loses
    "temperature_scales": [0.02, 0.01],
}

LR = {"training.actor_lr": {"log_uniform": [0.0001, 0.001]}}

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="package")
def ray_instance() -> Iterator[None]:
    """A Ray of two CPUs for the tests of this folder."""
    with small_ray():
        yield


@pytest.fixture(scope="package")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 4,000 bars of the synthetic instrument."""
    path = tmp_path_factory.mktemp("data") / "SYNTH.parquet"
    write_bars(make_market("momentum", 1, 4_000, 0.0).bars, path)
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process; returns its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def parse(**sweep: Any) -> SweepSpec:
    """Return a sweep over the actors' learning rate with these keys."""
    return parse_sweep({"tactical_sweep": {"space": LR, **sweep}}, "sweep.yaml")


def sweep_file(path: Path, space: dict[str, Any], **changes: Any) -> Path:
    """Write a small sweep; ``training`` among the changes is merged into that of the tests."""
    training = TRAINING | changes.pop("training", {})
    sweep = {"samples": 2, "config": {"training": training}, "space": space, **changes}
    path.write_text(yaml.safe_dump({"tactical_sweep": sweep}))
    return path

"""A user's networks and rewards: named in the configuration, carried to every process, exported."""

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.bundle.network_registry import NETWORKS
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import TrainingConfig, ValidationConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.rewards import REWARDS
from rllib_tactical.errors import BundleError, ConfigError, TrainingError
from rllib_tactical.rl import TrainingCallback, register_network, register_reward, train
from rllib_tactical.rl.extensions import registered_extensions, restore_extensions
from tests.rl.small import small_config


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Nothing that a test registers is left for the next one."""
    for registry in (NETWORKS, REWARDS):
        monkeypatch.setattr(registry, "_registered", {})


def register_both():
    # defined here, so that it travels by value: no worker can import it
    @register_network("tiny")
    class Tiny(torch.nn.Module):
        def __init__(self, attention, temperature, standardization):
            super().__init__()
            self.register_buffer("temperature", torch.tensor(temperature))
            self.out = torch.nn.Linear(len(attention), 3)

        def forward(self, inputs):
            return self.out(inputs[:, -1]) / self.temperature

    @register_reward("constant")
    def constant(events, config, pnl_scale):
        count = len(events.equity_change)
        return np.full(count, 0.25), np.tile([0.0, 0.5, 9.0], (count, 1))


def config(**changes):
    default = TacticalConfig()
    return dataclasses.replace(
        small_config(episodes=EpisodeConfig(length=8), **changes),
        model=ModelConfig(network="tiny"),
        rewards=dataclasses.replace(default.rewards, function="constant"),
    )


def test_what_was_registered_is_restored_elsewhere(monkeypatch):
    register_both()
    found = registered_extensions()
    assert (list(found["networks"]), list(found["rewards"])) == (["tiny"], ["constant"])
    monkeypatch.setattr(NETWORKS, "_registered", {})
    restore_extensions(found)
    assert NETWORKS.get("tiny") is found["networks"]["tiny"]


def test_unknown_names_are_refused_before_anything_starts(bars, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.network must be one of conv, found 'tiny'"):
        train([bars], tmp_path / "run", config())
    register_both()
    rewards = dataclasses.replace(TacticalConfig().rewards, function="other")
    other = dataclasses.replace(config(), rewards=rewards)
    expected = r"rewards\.function must be one of standard, constant, found 'other'"
    with pytest.raises(ConfigError, match=expected):
        train([bars], tmp_path / "run", other)
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [False, True])
def test_every_process_of_a_run_has_them(bars, tmp_path, ray_instance, workers, monkeypatch):
    """Sampled and learned in the driver; sampled or validated in workers of Ray."""
    register_both()
    changes = {"num_env_runners": 1, "validation": ValidationConfig(workers=1)} if workers else {}
    seen = []

    class Seen(TrainingCallback):
        def on_iteration(self, run, row):
            seen.append([row[f"reward_{agent}"] for agent in ("fvg", "momentum", "entry")])

    out = tmp_path / "run"
    result = train([bars], out, config(**changes), log=lambda line: None, callbacks=[Seen()])
    fvg, momentum, entry = seen[-1]
    # 0.25, 0.75 and, clipped, 2 a step
    assert momentum / fvg == pytest.approx(3.0)
    assert entry / fvg == pytest.approx(8.0)
    assert result.validation is not None
    bundle = export_run(out, tmp_path / "bundle")
    inputs = np.random.default_rng(0).normal(size=(5, 60, 7)).astype(np.float32)
    np.testing.assert_allclose(
        bundle.engine("torch").logits(inputs), bundle.engine("onnx").logits(inputs), atol=1e-5
    )
    resumed = train(
        [bars], out, config(iterations=3, **changes), resume=True, log=lambda line: None
    )
    assert resumed.iterations == 3

    monkeypatch.setattr(NETWORKS, "_registered", {})
    with pytest.raises(BundleError, match=r"network 'tiny' is not registered.* one of conv"):
        load_bundle(tmp_path / "bundle")


@pytest.mark.ray
@pytest.mark.slow
def test_actors_of_another_network_do_not_start_a_run(bars, tmp_path, ray_instance):
    register_both()
    train([bars], tmp_path / "tiny", config(iterations=1), log=lambda line: None)
    warm = TrainingConfig().warm_start
    cases: tuple[tuple[Literal["conv", "all"], bool, str], ...] = (
        ("conv", False, r"layers must be all for the network 'tiny'"),
        ("all", True, "do not fit the actors"),
    )
    for layers, default, expected in cases:
        start = dataclasses.replace(warm, path=str(tmp_path / "tiny"), layers=layers)
        changed = config(iterations=1, warm_start=start)
        if default:
            changed = dataclasses.replace(changed, model=ModelConfig())
        with pytest.raises((TrainingError, BundleError), match=expected):
            train([bars], tmp_path / layers, changed, log=lambda line: None)

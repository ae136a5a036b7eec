"""A market that changes, until a promoted bundle earns again; and one that only looks changed.

A real training, on two CPUs: minutes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.bundle.export import export_run
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.data.dataset import DataSource, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import UsageError
from rllib_tactical.lifecycle.adapt import ADAPT, Adaptation, AdaptSettings
from rllib_tactical.monitoring.bundle_drift import bundle_profile
from rllib_tactical.monitoring.profile import read_profile, write_profile
from rllib_tactical.rl import train
from rllib_tactical.synthetic import make_market
from tests.small_ray import small_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

DAY = 288
BEFORE, AFTER = 150 * DAY, 100 * DAY
CONFIG = TacticalConfig(training=TrainingConfig(iterations=36, actor_lr_end_factor=1.0))


def after(first: Bars, second: Bars) -> Bars:
    """Return the second bars, moved in time and price so that they follow the first."""
    by = round(float(first.close[-1] - second.open[0]), 2)
    step = int(first.timestamp_s[-1]) + 300 - int(second.timestamp_s[0])
    prices = {n: np.round(getattr(second, n) + by, 2) for n in ("open", "high", "low", "close")}
    return dataclasses.replace(second, timestamp_s=second.timestamp_s + step, **prices)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a champion of a momentum market in a registry, and later bars."""
    folder = tmp_path_factory.mktemp("adapt")
    market = make_market("momentum", 1, BEFORE)
    write_bars(market.bars, folder / "before.parquet")
    source = DataSource(folder / "before.parquet", market.instrument)
    with small_ray():
        train([source], folder / "run", CONFIG)
    bundle = export_run(folder / "run", folder / "bundle")
    registry = Registry(folder / "registry")
    registry.add(bundle.path, why="first")
    registry.promote(bundle.bundle_id, why="first")
    profile = registry.profile_path(bundle.bundle_id)
    profile.parent.mkdir()
    write_profile(profile, bundle_profile(bundle, load_dataset(source).sized(WarmUpBars())))
    changed = after(market.bars, make_market("gap", 2, AFTER).bars)
    write_bars(changed, folder / "changed.parquet")
    same = after(market.bars, make_market("momentum", 3, AFTER).bars)
    # volume is spread far wider: the inputs drift, the edge does not
    louder = np.rint(same.volume**1.3)
    write_bars(dataclasses.replace(same, volume=louder), folder / "looks_changed.parquet")
    return folder


def adapt(folder: Path, name: str) -> Adaptation:
    settings = AdaptSettings(only_on_drift=True, iterations=24)
    return Adaptation(
        Registry(folder / "registry"),
        "SYNTH",
        folder / f"{name}.parquet",
        folder / name,
        settings,
        by="ann",
    )


def test_a_market_that_only_looks_changed_keeps_its_champion(folder: Path) -> None:
    registry = Registry(folder / "registry")
    champion = registry.chosen("SYNTH")
    with small_ray():
        result = adapt(folder, "looks_changed").run()
    print(result)
    assert result.outcome == "refused"
    with pytest.raises(UsageError, match="holds a bundle adaptation already"):
        adapt(folder, "looks_changed").run()
    assert adapt(folder, "looks_changed").run(resume=True) == result
    # one that was stopped before the gate goes on there, and trains nothing again
    path = folder / "looks_changed" / ADAPT
    done = read_object(path)
    trained = done["seconds"]["training"]
    for step in ("gate", "registry"):
        del done["steps"][step], done["seconds"][step]
    del done["ended"]
    write_object(path, done)
    again = adapt(folder, "looks_changed").run(resume=True)
    assert again.gate == result.gate
    assert again.seconds["training"] == trained
    assert registry.chosen("SYNTH") == champion
    assert result.challenger in {entry.bundle_id for entry in registry.entries()}


def test_a_changed_edge_is_found_learned_and_promoted(folder: Path) -> None:
    registry = Registry(folder / "registry")
    champion = registry.chosen("SYNTH")
    with small_ray():
        result = adapt(folder, "changed").run()
    print(result)
    assert result.outcome == "promoted"
    assert result.gate is not None
    assert result.gate["champion_pnl"] < 0.5 * result.gate["challenger_pnl"]
    assert registry.chosen("SYNTH") == result.challenger != champion
    assert registry.lineage(str(result.challenger)) == [result.challenger, champion]
    assert sum(result.seconds.values()) < 3_600.0
    # the next adaptation has something to measure drift by
    assert read_profile(registry.profile_path(str(result.challenger))).symbol == "SYNTH"
    assert registry.promotions("SYNTH")[-1].evidence["drift"]["drift"] is True
    with pytest.raises(UsageError, match="the champion was"):
        adapt(folder, "changed").run(resume=True)
    assert registry.roll_back("SYNTH", why="a test").bundle_id == champion

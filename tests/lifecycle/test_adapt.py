"""What an adaptation refuses, and the steps before any training; nothing is trained here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import DataError, UnreadableError, UsageError
from rllib_tactical.lifecycle.adapt import ADAPT, Adaptation, Adapted, AdaptSettings
from tests.market import random_bars

pytestmark = pytest.mark.slow

NO_PROFILE = "not looked for: the champion has no profile"


@pytest.fixture
def registry(family: list[Bundle], tmp_path: Path) -> Registry:
    """Return a registry in which the first of three bundles is promoted."""
    registry = Registry(tmp_path / "registry")
    for each in family:
        registry.add(each.path)
    registry.promote(family[0].bundle_id, why="first")
    return registry


def adaptation(registry: Registry, source: Path, out: Path, **settings: Any) -> Adaptation:
    chosen = AdaptSettings(**settings)
    return Adaptation(registry, "TEST", source, out, chosen, log=lambda line: None)


def test_there_must_be_a_champion(registry: Registry, tmp_path: Path) -> None:
    settings = AdaptSettings()
    with pytest.raises(UsageError, match="must have a promoted bundle for OTHER"):
        Adaptation(registry, "OTHER", tmp_path / "bars.csv", tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_drift_is_a_reason_only_where_the_champion_has_a_profile(
    registry: Registry, tmp_path: Path
) -> None:
    source, out = tmp_path / "missing.parquet", tmp_path / "out"
    with pytest.raises(UsageError, match="the champion must have a profile of drift, found none"):
        adaptation(registry, source, out, only_on_drift=True).run()
    assert read_object(out / ADAPT)["steps"] == {}
    # without the condition it goes on, to bars that are not there
    with pytest.raises(UnreadableError, match=r"missing\.parquet"):
        adaptation(registry, source, tmp_path / "other").run()
    assert read_object(tmp_path / "other" / ADAPT)["steps"]["drift"]["words"] == NO_PROFILE


def test_too_few_bars_are_refused_before_anything_is_trained(
    registry: Registry, tmp_path: Path
) -> None:
    write_bars(random_bars(2_700), tmp_path / "bars.parquet")
    with pytest.raises(DataError, match="the validation split needs more than 360 bars"):
        adaptation(registry, tmp_path / "bars.parquet", tmp_path / "out", bars=2_000).run()
    assert list(read_object(tmp_path / "out" / ADAPT)["steps"]) == ["drift"]
    assert not (tmp_path / "out" / "run").exists()


def test_a_folder_is_resumed_only_where_it_was_begun_for_the_same_champion(
    registry: Registry, family: list[Bundle], tmp_path: Path
) -> None:
    source, out = tmp_path / "missing.parquet", tmp_path / "out"
    with pytest.raises(UsageError, match="--resume: there is no bundle adaptation in"):
        adaptation(registry, source, out).run(resume=True)
    with pytest.raises(UnreadableError):
        adaptation(registry, source, out).run()
    with pytest.raises(UsageError, match="holds a bundle adaptation already"):
        adaptation(registry, source, out).run()
    # one that has ended says again how, and reads no bars for it
    ended = Adapted(
        outcome="no_drift",
        champion=family[0].bundle_id,
        challenger=None,
        words="No drift",
        seconds={"drift": 1.5},
        gate=None,
    )
    write_object(out / ADAPT, {**read_object(out / ADAPT), "ended": dataclasses.asdict(ended)})
    assert adaptation(registry, source, out).run(resume=True) == ended
    registry.promote(family[1].bundle_id, why="another")
    with pytest.raises(UsageError, match=f"the champion was {family[0].bundle_id[:12]} and is"):
        adaptation(registry, source, out).run(resume=True)

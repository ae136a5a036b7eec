"""Promotions in a real MLflow store on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.reporting.mlflow_registry import (
    BUNDLE_ID,
    CHAMPION,
    mirror_promotion,
    model_name,
)
from rllib_tactical.reporting.mlflow_store import MlflowStore
from tests.bundle.forgery import actors, export
from tests.lifecycle.conftest import child_of

pytestmark = pytest.mark.slow


def test_promotions_and_rollbacks_move_the_alias_between_versions(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    export(tmp_path / "first", actors(1))
    first = load_bundle(tmp_path / "first")
    second: Bundle = child_of(first, tmp_path / "second", 2)
    registry = Registry(tmp_path / "registry")
    store = MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for each in (first, second):
        registry.add(each.path)
        made = registry.promote(each.bundle_id, why="it earns more", by="ann")
        mirror_promotion(store, registry, made)
    name = model_name("TEST")
    champion = store.client.get_model_version_by_alias(name, CHAMPION)
    assert champion.tags[BUNDLE_ID] == second.bundle_id
    assert champion.tags["parent"] == first.bundle_id
    run = store.client.get_run(champion.run_id)
    assert run.data.metrics == {"validation.net_pnl": 200.0}
    kept = store.client.download_artifacts(champion.run_id, "bundle", str(tmp_path))
    assert load_bundle(Path(kept)).bundle_id == second.bundle_id
    mirror_promotion(store, registry, registry.roll_back("TEST", why="it lost", by="bob"))
    champion = store.client.get_model_version_by_alias(name, CHAMPION)
    assert champion.tags[BUNDLE_ID] == first.bundle_id
    assert (champion.tags["action"], champion.tags["by"]) == ("rollback", "bob")
    assert champion.tags["why"] == "it lost"
    assert len(store.client.search_model_versions(f"name = '{name}'")) == 2  # none is made twice


def test_a_name_has_nothing_that_the_registry_refuses() -> None:
    assert model_name("BRK.B/x: 1") == "rllib-tactical-BRK_B_x__1"

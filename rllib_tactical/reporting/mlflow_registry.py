"""Promotions in the model registry of an MLflow store, beside the folder that decides.

A bundle is a version of the registered model of its symbol; the alias ``champion`` is on the one
that is chosen. Nothing is read from there: a service takes bundles of the folder, verified.
"""

from __future__ import annotations

import re
from typing import Any, Final

from rllib_tactical.bundle.registry import Promotion, Registry
from rllib_tactical.reporting.mlflow_store import MlflowStore

CHAMPION: Final = "champion"
BUNDLE_ID: Final = "bundle_id"
FOLDER: Final = "bundle"
_NO_MODEL_NAME: Final = re.compile(r"[/:.%\"' ]")


def model_name(symbol: str) -> str:
    """Return the name of the registered model of a symbol."""
    return "rllib-tactical-" + _NO_MODEL_NAME.sub("_", symbol)


def mirror_promotion(store: MlflowStore, registry: Registry, made: Promotion) -> str:
    """Register the bundle of a promotion or rollback, and put the alias on it; return its version.

    A bundle that is registered already keeps its version. Its tags say who chose it last, and why.
    """
    name = model_name(made.symbol)
    if not store.client.search_registered_models(f"name = '{name}'"):
        store.client.create_registered_model(name)
    version = _version_of(store, name, made.bundle_id)
    if version is None:
        version = _register(store, registry, name, made.bundle_id)
    told = {"action": made.action, "by": made.by, "why": made.why, "at": made.at}
    for key, value in told.items():
        store.client.set_model_version_tag(name, version, key, value)
    store.client.set_registered_model_alias(name, CHAMPION, version)
    return version


def _version_of(store: MlflowStore, name: str, bundle_id: str) -> str | None:
    for each in store.client.search_model_versions(f"name = '{name}'"):
        if each.tags.get(BUNDLE_ID) == bundle_id:
            return str(each.version)
    return None


def _register(store: MlflowStore, registry: Registry, name: str, bundle_id: str) -> str:
    """Keep a bundle's files, settings and metrics as a run, and make it a version of the model."""
    entry, bundle = registry.entry(bundle_id), registry.load(bundle_id)
    run_id = store.log_result(
        "registry",
        bundle_id[:12],
        params={"symbol": entry.symbol, "parent": entry.parent, "training": _training(bundle)},
        result=entry.metrics,
        folders={FOLDER: registry.path(bundle_id)},
    )
    source = f"{store.client.get_run(run_id).info.artifact_uri}/{FOLDER}"
    tags = {BUNDLE_ID: bundle_id, "parent": entry.parent or ""}
    return str(store.client.create_model_version(name, source, run_id, tags=tags).version)


def _training(bundle: Any) -> dict[str, Any]:
    found = bundle.manifest["training"]
    return {k: v for k, v in found.items() if not isinstance(v, dict | list)}

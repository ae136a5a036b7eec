"""Change a bundle as a forger would, who makes every hash fit."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from rllib_tactical.bundle.bundle import export_bundle, load_bundle
from rllib_tactical.bundle.manifest import MANIFEST, manifest_id
from rllib_tactical.bundle.weights import ONNX, WEIGHTS
from rllib_tactical.config.loader import content_hash
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import BundleError
from tests.actors import untrained_weights

FILES = (MANIFEST, WEIGHTS, ONNX)


CONFIG = {"training": {"seed": 1}}


def actors(seed):
    torch.manual_seed(seed)
    return untrained_weights(1.2)


def export(out, weights):
    return export_bundle(
        out,
        weights=weights,
        rules=Rules(),
        instrument=Instrument(symbol="TEST", tick_size=0.01, base_quantity=100.0),
        bar_seconds=300,
        temperature_scale=0.5,
        training={"config": CONFIG, "config_hash": content_hash(CONFIG)},
        metrics={},
    )


def manifest_of(folder):
    return json.loads((folder / MANIFEST).read_text())


def forge(folder, manifest, **files):
    """Write files and a manifest as a forger would, who makes every hash fit."""
    for name, data in files.items():
        (folder / f"actors.{name}").write_bytes(data)
    if files:
        manifest["files"] = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (WEIGHTS, ONNX)
        }
    manifest["bundle_id"] = manifest_id(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refused(folder, *named):
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    for name in named:
        assert name in str(caught.value)

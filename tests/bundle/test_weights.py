"""Weights and graphs that cannot be those of the actors are refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from rllib_tactical.bundle import bundle as bundle_module
from rllib_tactical.bundle.bundle import MAX_FILE_BYTES, load_bundle
from rllib_tactical.bundle.manifest import MANIFEST, MAX_MANIFEST_BYTES
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.bundle.weights import ACTOR_SHAPES, ONNX, WEIGHTS, check_parity, onnx_bytes
from rllib_tactical.errors import BundleError, UnreadableError
from tests.bundle.forgery import FILES, actors, export, forge, manifest_of, refused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_refused(bundle, name, tmp_path):
    outside = tmp_path / "outside"
    shutil.copy(bundle / name, outside)
    path = bundle / name
    path.unlink()
    with pytest.raises(UnreadableError if name == MANIFEST else BundleError, match=name):
        load_bundle(bundle)
    path.symlink_to(outside)  # the same content, but not in the folder
    refused(bundle, name, "link")
    path.unlink()
    path.symlink_to("nowhere")
    refused(bundle, name, "link")
    path.unlink()
    path.mkdir()
    with pytest.raises(UnreadableError if name == MANIFEST else BundleError, match=name):
        load_bundle(bundle)
    path.rmdir()
    os.mkfifo(path)  # must not be waited for
    with pytest.raises(UnreadableError if name == MANIFEST else BundleError, match=name):
        load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_file_too_large_is_not_read(bundle, name):
    limit = MAX_MANIFEST_BYTES if name == MANIFEST else MAX_FILE_BYTES
    os.truncate(bundle / name, limit + 1)
    refused(bundle, name, f"larger than {limit} bytes")


class Exploit:
    def __reduce__(self):
        return os.abort, ()


def _with(**changes):
    def altered(weights):
        return save(weights | {name.replace("__", "."): value for name, value in changes.items()})

    return altered


def _without(name):
    return lambda weights: save({key: value for key, value in weights.items() if key != name})


def _bfloat16(weights):
    header = json.dumps({"fvg.mean": {"dtype": "BF16", "shape": [7], "data_offsets": [0, 14]}})
    return struct.pack("<Q", len(header)) + header.encode() + bytes(14)


@pytest.mark.parametrize(
    ("altered", "named"),
    [
        (lambda weights: pickle.dumps(weights), "not a safetensors file"),
        (lambda weights: pickle.dumps(Exploit()), "not a safetensors file"),
        (lambda weights: save(weights)[:-4], "not a safetensors file"),
        (_bfloat16, WEIGHTS),
        (_with(fvg__out__bias=np.array([0, np.nan, 0], np.float32)), "fvg.out.bias"),
        (_with(fvg__out__bias=np.array([0, np.inf, 0], np.float32)), "fvg.out.bias"),
        (_with(momentum__fc2__bias=np.zeros(128)), "momentum.fc2.bias"),
        (_with(momentum__fc2__bias=np.zeros(128, np.float16)), "momentum.fc2.bias"),
        (_with(entry__out__weight=np.zeros((128, 3), np.float32)), "entry.out.weight"),
        (_with(entry__temperature=np.zeros(1, np.float32)), "entry.temperature"),
        (_with(entry__temperature=np.array(0.0, np.float32)), "entry.temperature must be > 0"),
        (_with(entry__std=np.zeros(7, np.float32)), "entry.std must be > 0"),
        (_with(critic__bias=np.zeros(3, np.float32)), "critic.bias"),
        (_without("fvg.conv1.bias"), "fvg.conv1.bias"),
        (lambda weights: save({}), "missing weights"),
    ],
)
def test_weights_that_cannot_be_the_actors_are_refused_although_every_hash_fits(
    bundle, altered, named
):
    weights = load_bundle(bundle).weights
    forge(bundle, manifest_of(bundle), safetensors=altered(weights))
    refused(bundle, WEIGHTS, named)


def test_the_shapes_are_those_of_the_actor():
    state = Actor((0.1,) * 7, 1.0).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == ACTOR_SHAPES


def test_a_model_of_other_weights_is_found_by_the_probe_although_every_hash_fits(bundle, originals):
    other = originals[1]
    forge(bundle, manifest_of(bundle), onnx=(other / ONNX).read_bytes())
    loaded = load_bundle(bundle)
    loaded.engine("torch")
    with pytest.raises(BundleError, match="onnx actors do not give the logits"):
        loaded.engine()
    forge(bundle, manifest_of(bundle) | {"probe": manifest_of(other)["probe"]}, onnx=b"no graph")
    with pytest.raises(BundleError, match="torch actors do not give the logits"):
        load_bundle(bundle).engine("torch")
    with pytest.raises(BundleError, match="ONNX model of the bundle cannot be loaded"):
        load_bundle(bundle).engine()


def test_a_graph_with_other_inputs_or_outputs_is_refused(bundle):
    import onnx

    good = (bundle / ONNX).read_bytes()
    for part, renamed in (("input", "elsewhere"), ("output", "elsewhere")):
        model = onnx.load_from_string(good)
        old = getattr(model.graph, part)[0].name
        getattr(model.graph, part)[0].name = renamed
        for node in model.graph.node:
            names = getattr(node, part)
            for i, name in enumerate(names):
                if name == old:
                    names[i] = renamed
        forge(bundle, manifest_of(bundle), onnx=model.SerializeToString())
        with pytest.raises(BundleError, match="onnx actors fail on the probe"):
            load_bundle(bundle).engine()


def test_parity_at_export_finds_a_graph_of_other_weights(tmp_path, originals, monkeypatch):
    one, other = actors(1), actors(2)
    with pytest.raises(BundleError, match="logits differ by"):
        check_parity(onnx_bytes(other), one)
    graph = (originals[1] / ONNX).read_bytes()
    monkeypatch.setattr(bundle_module, "onnx_bytes", lambda weights, network: graph)
    with pytest.raises(BundleError, match="logits differ by"):
        export(tmp_path / "b", one)
    assert not (tmp_path / "b").exists()

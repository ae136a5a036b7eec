"""Every way of altering a bundle that we could think of is refused, and the message says where."""

import json
import shutil

import numpy as np
import pytest

from rllib_tactical.bundle import bundle as bundle_module
from rllib_tactical.bundle.bundle import export_bundle, load_bundle
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.bundle.weights import ONNX
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import BundleError
from tests.bundle.forgery import FILES, actors, refused

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_found_wherever_it_is(bundle, name):
    data = (bundle / name).read_bytes()
    rng = np.random.default_rng(0)
    for place in (0, len(data) - 1, *rng.integers(0, len(data), 10)):
        altered = bytearray(data)
        altered[place] ^= 1 << int(rng.integers(8))
        (bundle / name).write_bytes(altered)
        if name == MANIFEST and _same_json(altered, data):
            continue  # one kind of white space for another
        refused(bundle)
    (bundle / name).write_bytes(data)
    load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_emptied_or_lengthened_are_refused(bundle, name):
    data = (bundle / name).read_bytes()
    for altered in (data[: len(data) // 2], data[:-2], b"", b"\x00", data + b"\x00", data + data):
        (bundle / name).write_bytes(altered)
        refused(bundle, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_bundle_is_refused(bundle, originals, name):
    shutil.copy(originals[1] / name, bundle / name)
    refused(bundle, "hash mismatch")


@pytest.mark.parametrize("name", [".hidden", "actors.pkl", "actors.onnx.data", "notes"])
def test_nothing_else_may_lie_in_the_folder(bundle, name):
    (bundle / name).write_bytes(b"x")
    refused(bundle, name)
    (bundle / name).unlink()
    (bundle / name).mkdir()
    refused(bundle, name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"metrics": {"sharpe": float("nan")}}, "NaN"),
        ({"parent": "the last one"}, "parent"),
        ({"bar_seconds": 0}, "bar_seconds"),
        ({"temperature_scale": 0.0}, "temperature_scale"),
        ({"training": {"config": {}, "config_hash": "0" * 64}}, "training.config_hash"),
    ],
)
def test_export_writes_nothing_that_could_not_be_loaded(
    tmp_path, originals, monkeypatch, changes, named
):
    graph = (originals[0] / ONNX).read_bytes()  # of the same weights: made once, it takes seconds
    monkeypatch.setattr(bundle_module, "onnx_bytes", lambda weights, network: graph)
    settings = {
        "weights": actors(1),
        "rules": Rules(),
        "instrument": Instrument(symbol="TEST", tick_size=0.01, base_quantity=100.0),
        "bar_seconds": 300,
        "temperature_scale": 0.5,
        "training": {},
        "metrics": {},
    }
    with pytest.raises(BundleError, match=named):
        export_bundle(tmp_path / "b", **(settings | changes))
    assert not any(tmp_path.iterdir())


def _same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False

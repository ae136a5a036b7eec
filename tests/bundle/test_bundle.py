import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import export_bundle, load_bundle
from rllib_tactical.bundle.inference import probabilities
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.bundle.weights import ONNX, WEIGHTS
from rllib_tactical.config.loader import content_hash
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import BundleError, UnreadableError, UsageError
from tests.actors import untrained_weights

pytestmark = pytest.mark.slow

INSTRUMENT = Instrument(symbol="TEST", tick_size=0.01, base_quantity=100.0)


def export(out, weights, **changes):
    settings = {
        "weights": weights,
        "rules": Rules(),
        "instrument": INSTRUMENT,
        "bar_seconds": 300,
        "temperature_scale": 0.5,
        "training": {"seed": 1},
        "metrics": {},
    }
    return export_bundle(out, **(settings | changes))


@pytest.fixture(scope="module")
def weights():
    return untrained_weights(1.2)


@pytest.fixture(scope="module")
def original(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "b"
    export(folder, weights)
    return folder


@pytest.fixture
def bundle(original, tmp_path):
    return shutil.copytree(original, tmp_path / "b")


def rewrite(folder, recompute_id=True, **changes):
    """Change the manifest as a forger would, who also makes the id fit."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    if recompute_id:
        manifest["bundle_id"] = content_hash(
            {key: value for key, value in manifest.items() if key != "bundle_id"}
        )
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_was_exported_is_what_is_loaded(bundle, weights):
    loaded = load_bundle(bundle)
    assert loaded.rules == Rules()
    assert loaded.instrument == INSTRUMENT
    assert loaded.temperature_scale == 0.5
    assert loaded.bar_seconds == 300
    assert set(loaded.weights) == set(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], value)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, None),
        ({"data": "bars.csv"}, None),
        ({"data": {"sha256": "a"}}, None),
        ({"data": {"size_from": {"kind": "instrument"}}}, {"kind": "instrument"}),
    ],
)
def test_a_bundle_says_what_its_size_is_from_if_it_was_recorded(bundle, training, expected):
    rewrite(bundle, training=training)
    assert load_bundle(bundle).size_from == expected


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, "detect"),
        ({"data": 5}, "detect"),
        ({"data": {"synergies": "detect"}}, "detect"),
        ({"data": {"synergies": "none"}}, "none"),
        ({"data": {"synergies": "0" * 64}}, "file"),
    ],
)
def test_a_bundle_tells_which_synergies_it_was_trained_with(bundle, training, expected):
    rewrite(bundle, training=training)
    assert load_bundle(bundle).synergies == expected


def test_onnx_and_torch_agree(bundle):
    loaded = load_bundle(bundle)
    inputs = np.random.default_rng(0).normal(size=(9, 60, 7)).astype(np.float32)
    np.testing.assert_allclose(
        loaded.engine("onnx").logits(inputs), loaded.engine("torch").logits(inputs), atol=1e-5
    )
    with pytest.raises(BundleError, match="engine"):
        loaded.engine("tpu")


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 256])
def test_a_row_does_not_depend_on_its_batch(bundle, batch):
    """What makes backtest and service agree to the bit."""
    engine = load_bundle(bundle).engine()
    inputs = np.random.default_rng(1).normal(size=(256, 60, 7)).astype(np.float32)
    alone = np.concatenate([engine.logits(inputs[i : i + 1]) for i in range(len(inputs))])
    parts = [engine.logits(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]
    np.testing.assert_array_equal(np.concatenate(parts), alone)


@pytest.mark.slow
def test_the_id_depends_on_the_content_only(weights, tmp_path):
    one, two = export(tmp_path / "1", weights), export(tmp_path / "2", weights)
    other = export(tmp_path / "3", weights, temperature_scale=0.25)
    assert one.bundle_id == two.bundle_id != other.bundle_id


@pytest.mark.parametrize("name", [WEIGHTS, ONNX])
def test_an_altered_file_is_refused(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}: hash mismatch"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", [WEIGHTS, ONNX])
def test_a_missing_file_is_refused(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        load_bundle(bundle)


def test_an_altered_manifest_is_refused(bundle):
    rewrite(bundle, recompute_id=False, temperature_scale=1.0)
    with pytest.raises(BundleError, match="bundle_id"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"feature_hash": "0" * 64}, "other features"),
        ({"rules_hash": "0" * 64}, "rules hash"),
        ({"files": {}}, "files"),
        ({"extra": 1}, "extra"),
        ({"temperature_scale": 0.0}, "temperature_scale"),
        ({"temperature_scale": "hot"}, "temperature_scale"),
        ({"bar_seconds": 0}, "bar_seconds"),
        ({"instrument": {"symbol": "X"}}, "instrument"),
        ({"rules": {"risk": {"bypass": True}}}, "rules"),
    ],
)
def test_a_manifest_with_a_fitting_id_still_has_to_make_sense(bundle, changes, named):
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=named):
        load_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(bundle, text):
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(bundle)


def test_no_bundle_is_not_a_broken_bundle(tmp_path):
    with pytest.raises(UnreadableError, match="no bundle here"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("beside", [(), (MANIFEST,)])
def test_a_folder_of_something_else_is_not_replaced(weights, tmp_path, beside):
    for name in ("diary.txt", *beside):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=r"an earlier bundle, found diary\.txt in"):
        export(tmp_path, weights)
    assert (tmp_path / "diary.txt").read_text() == "mine"


def test_a_failed_export_leaves_the_old_bundle(bundle, weights):
    before = load_bundle(bundle).bundle_id
    broken = {name: value for name, value in weights.items() if name != "fvg.out.bias"}
    with pytest.raises(BundleError):
        export(bundle, broken)
    assert load_bundle(bundle).bundle_id == before
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_an_old_bundle_is_replaced(bundle, weights):
    new = export(bundle, weights, temperature_scale=0.25)
    assert load_bundle(bundle).bundle_id == new.bundle_id
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_size_must_be_known_at_export(weights, tmp_path):
    with pytest.raises(BundleError, match="base_quantity"):
        export(tmp_path / "b", weights, instrument=Instrument(symbol="X", tick_size=0.01))


def test_probabilities_refuse_wrong_shapes_and_values(bundle):
    engine = load_bundle(bundle).engine()
    with pytest.raises(BundleError, match="shape"):
        probabilities(engine, np.zeros((1, 59, 7), dtype=np.float32), 1.0)
    with pytest.raises(BundleError, match="finite"):
        probabilities(engine, np.full((1, 60, 7), np.nan, dtype=np.float32), 1.0)


def test_loading_and_running_needs_neither_ray_nor_pickle(bundle):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from rllib_tactical.bundle.bundle import load_bundle\n"
        "from rllib_tactical.bundle.inference import probabilities\n"
        f"b = load_bundle(Path({str(bundle)!r}))\n"
        "def forbidden(*a, **k): raise SystemExit('pickle was used')\n"
        "import pickle; pickle.load = pickle.loads = forbidden\n"
        "p = probabilities(b.engine(), np.zeros((1, 60, 7), dtype=np.float32), 1.0)\n"
        "assert p.shape == (1, 3, 3)\n"
        "assert not {'ray', 'torch'} & set(sys.modules), 'too much was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Every way of altering a bundle that we could think of is refused, and the message says where."""

import copy
import hashlib
import json
import os
import pickle
import shutil
import struct
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from rllib_tactical.bundle import bundle as bundle_module
from rllib_tactical.bundle.bundle import MAX_FILE_BYTES, export_bundle, load_bundle
from rllib_tactical.bundle.manifest import MANIFEST, MAX_MANIFEST_BYTES, manifest_id
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.bundle.weights import ACTOR_SHAPES, ONNX, WEIGHTS, check_parity, onnx_bytes
from rllib_tactical.config.loader import content_hash
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import FEATURE_SPEC
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import BundleError, UnreadableError
from tests.actors import untrained_weights

FILES = (MANIFEST, WEIGHTS, ONNX)
CONFIG = {"training": {"seed": 1}}
KEYS = (
    "format_version",
    "bundle_id",
    "feature_spec",
    "feature_hash",
    "rules",
    "rules_hash",
    "instrument",
    "bar_seconds",
    "temperature_scale",
    "training",
    "metrics",
    "parent",
    "git_commit",
    "versions",
    "probe",
    "files",
)
WRONG: tuple[Any, ...] = (True, 0, -1, 2.5, 1 << 80, "", "text", "G" * 64)
WRONG += ([], ["text"], [[]], {"strange": 1})
FITTING = {  # what of WRONG a key may well hold
    "training": ({"strange": 1},),
    "metrics": ({"strange": 1},),
    "temperature_scale": (2.5,),
    "parent": (None,),
    "git_commit": (None,),
}


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


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Two bundles, alike but for their weights."""
    folder = tmp_path_factory.mktemp("bundles")
    for seed in (1, 2):
        export(folder / str(seed), actors(seed))
    return folder / "1", folder / "2"


@pytest.fixture
def bundle(originals, tmp_path):
    return shutil.copytree(originals[0], tmp_path / "b")


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


def test_the_untouched_bundle_is_accepted_and_the_list_of_keys_is_complete(bundle):
    assert set(manifest_of(bundle)) == set(KEYS)
    load_bundle(bundle).engine()
    forge(bundle, manifest_of(bundle))
    assert load_bundle(bundle).bundle_id == manifest_of(bundle)["bundle_id"]


@pytest.mark.parametrize("key", KEYS)
def test_a_manifest_without_a_key_is_refused(bundle, key):
    manifest = manifest_of(bundle)
    del manifest[key]
    if key != "bundle_id":
        manifest["bundle_id"] = manifest_id(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    refused(bundle, MANIFEST, key)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_wrong_type_or_range_is_refused_by_name(bundle, key):
    original = manifest_of(bundle)
    for value in (None, *WRONG):
        if value in FITTING.get(key, ()):
            continue
        manifest = original | {key: value}
        if key != "bundle_id":
            manifest["bundle_id"] = manifest_id(manifest)
        (bundle / MANIFEST).write_text(json.dumps(manifest))
        refused(bundle, key)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "bundle_id"])
def test_a_changed_value_does_not_fit_the_id(bundle, key):
    """Every key is covered by the id: a value of the right type alone does not pass."""
    manifest = manifest_of(bundle)
    value = manifest[key]
    if isinstance(value, dict):
        manifest[key] = value | {"one_more": "0" * 64}
    elif isinstance(value, list):
        value[0][0][0] += 1.0
    elif isinstance(value, str):
        manifest[key] = value[:39].replace("0", "1") + "f" + value[40:]
    else:
        manifest[key] = {"parent": "0" * 64, "git_commit": "0" * 40}.get(key) or value * 2
    assert manifest != manifest_of(bundle)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    refused(bundle, "format_version" if key == "format_version" else "bundle_id does not match")


@pytest.mark.parametrize("key", ["rules", "instrument", "feature_spec", "files"])
def test_an_object_with_a_setting_more_or_less_is_refused_by_name(bundle, key):
    original = manifest_of(bundle)[key]
    less = [{k: v for k, v in original.items() if k != name} for name in original]
    for value in ({}, original | {"strange": "0" * 64}, *less):
        manifest = manifest_of(bundle) | {key: value}
        if key == "rules":
            manifest["rules_hash"] = content_hash(value)
        elif key == "feature_spec":
            manifest["feature_hash"] = content_hash(value)
        forge(bundle, manifest)
        refused(bundle, key.partition("_")[0])


def test_settings_inside_the_rules_are_neither_dropped_nor_bypassed(bundle):
    for section in ("aggregation", "orders", "risk"):
        original = manifest_of(bundle)["rules"]
        for name in original[section]:
            rules = copy.deepcopy(original)
            del rules[section][name]
            forge(bundle, manifest_of(bundle) | {"rules": rules, "rules_hash": content_hash(rules)})
            refused(bundle, "rules")
        rules = copy.deepcopy(original)
        rules[section]["bypass"] = True
        forge(bundle, manifest_of(bundle) | {"rules": rules, "rules_hash": content_hash(rules)})
        refused(bundle, "rules", "bypass")


def test_rules_of_the_format_without_weights_had_the_default_ones(bundle):
    rules = manifest_of(bundle)["rules"]
    weights = rules["aggregation"].pop("synergy_type_weights")
    assert weights["TYPE_3"] == [0.3, 0.5, 0.2]
    old = {"format_version": 2, "rules": rules, "rules_hash": content_hash(rules)}
    forge(bundle, manifest_of(bundle) | old)
    assert load_bundle(bundle).rules == Rules()
    forge(bundle, manifest_of(bundle) | {"format_version": 3})
    refused(bundle, "rules")
    # weights in it are none that its program used
    weights["TYPE_3"] = [0.2, 0.6, 0.2]
    rules["aggregation"]["synergy_type_weights"] = weights
    forge(bundle, manifest_of(bundle) | old | {"rules": rules, "rules_hash": content_hash(rules)})
    refused(bundle, "rules")


def test_true_is_not_one_in_the_feature_specification(bundle):
    assert FEATURE_SPEC | {"version": True} == FEATURE_SPEC
    forge(bundle, manifest_of(bundle) | {"feature_spec": FEATURE_SPEC | {"version": True}})
    refused(bundle, "feature_spec")


def test_lineage_that_contradicts_itself_is_refused(bundle):
    forge(bundle, manifest_of(bundle) | {"training": {"config": {}, "config_hash": "0" * 64}})
    refused(bundle, "training.config_hash")
    instrument = manifest_of(bundle)["instrument"] | {"base_quantity": None}
    forge(bundle, manifest_of(bundle) | {"instrument": instrument, "training": {}})
    refused(bundle, "instrument.base_quantity")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b'"metrics": {"x": NaN}', "NaN"),
        (b'"metrics": {"x": -Infinity}', "-Infinity"),
        (b'"metrics": {"x": 1e999}', "1e999"),
        (b'"metrics": {"x": ' + b"9" * 5_000 + b"}", "digits"),
        (b'"metrics": {}, "metrics": {}', "duplicate key 'metrics'"),
        (b'"metrics": {"a": 1, "a": 2}', "duplicate key 'a'"),
        (b'"metrics": {"a": ' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
        (b'"metrics": {"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", "JSON"),
        (b'"metrics": {} /* comment */', "JSON"),
        (b'"metrics": {"\xff": 1}', "utf-8"),
    ],
    ids=["nan", "inf", "1e999", "digits", "twice", "inner", "deep", "deeper", "comment", "latin"],
)
def test_json_that_another_reader_would_read_otherwise_is_refused(bundle, text, named):
    before = (bundle / MANIFEST).read_bytes()
    assert before.count(b'"metrics": {}') == 1
    (bundle / MANIFEST).write_bytes(before.replace(b'"metrics": {}', text))
    refused(bundle, MANIFEST, named)


def test_other_encodings_of_the_manifest_are_refused(bundle):
    text = (bundle / MANIFEST).read_text()
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        (bundle / MANIFEST).write_bytes(text.encode(encoding))
        refused(bundle, MANIFEST)


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


def _same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("name", FILES)
def test_files_cut_emptied_or_lengthened_are_refused(bundle, name):
    data = (bundle / name).read_bytes()
    for altered in (data[: len(data) // 2], data[:-2], b"", b"\x00", data + b"\x00", data + data):
        (bundle / name).write_bytes(altered)
        refused(bundle, name)


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

"""A manifest that was changed is refused, although every hash fits."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.bundle.manifest import MANIFEST, manifest_id
from rllib_tactical.config.loader import content_hash
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import FEATURE_SPEC
from tests.bundle.forgery import forge, manifest_of, refused

pytestmark = pytest.mark.slow

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
        changed = value[:39].replace("0", "1") + "f" + value[40:]
        manifest[key] = changed if changed != value else value.replace("f", "e")
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
    del rules["risk"]["hold_bars_after_gap"]
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


def test_bundles_from_before_the_hold_after_a_gap_have_the_default_one(bundle):
    rules = manifest_of(bundle)["rules"]
    assert rules["risk"].pop("hold_bars_after_gap") == 5
    old = {"format_version": 3, "rules": rules, "rules_hash": content_hash(rules)}
    forge(bundle, manifest_of(bundle) | old)
    assert load_bundle(bundle).rules == Rules()
    forge(bundle, manifest_of(bundle) | {"format_version": 4})
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

"""The manifest of a policy bundle: strict JSON with known keys, each of its own type and range."""

from __future__ import annotations

import copy
import json
import math
import re
import reprlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.config.loader import content_hash, from_dict, to_dict
from rllib_tactical.config.training import MAX_TEMPERATURE_SCALE
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import feature_hash
from rllib_tactical.domain.types import NUM_ACTIONS, NUM_AGENTS, Instrument
from rllib_tactical.errors import BundleError, ConfigError

T = TypeVar("T", Rules, Instrument)

FORMAT_VERSION: Final = 4
READABLE: Final = (2, 3, FORMAT_VERSION)
ADDED: Final = ((3, "aggregation", "synergy_type_weights"), (4, "risk", "hold_bars_after_gap"))
"""Settings of the rules by the format that came with them; in older ones they have their defaults.

These are what the programs did that made such bundles; only the service held after a gap.
"""
MANIFEST: Final = "manifest.json"
NETWORK: Final = "network"
"""The key with the name of the actors' network; only bundles of registered networks have it."""
PROBE_ROWS: Final = 4
MAX_BAR_SECONDS: Final = 86_400
MAX_DEPTH: Final = 32
MAX_MANIFEST_BYTES: Final = 1024 * 1024


class _Kind(NamedTuple):
    """What a key must hold, in words and as a check."""

    words: str
    holds: Callable[[Any], bool]


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_commit(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}(-dirty)?", value) is not None


def _is_probe(value: Any) -> bool:
    return _is_list(value, PROBE_ROWS) and all(
        _is_list(row, NUM_AGENTS)
        and all(_is_list(agent, NUM_ACTIONS) and all(map(_is_float, agent)) for agent in row)
        for row in value
    )


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


_OBJECT: Final = _Kind("an object", lambda value: isinstance(value, dict))
_HASH: Final = _Kind("64 hex digits", _is_hash)
_KINDS: Final = {
    "format_version": _Kind(
        " or ".join(map(str, READABLE)), lambda value: type(value) is int and value in READABLE
    ),
    "bundle_id": _HASH,
    "feature_spec": _OBJECT,
    "feature_hash": _HASH,
    "rules": _OBJECT,
    "rules_hash": _HASH,
    "instrument": _OBJECT,
    "bar_seconds": _Kind(
        f"a whole number from 1 to {MAX_BAR_SECONDS}",
        lambda value: type(value) is int and 1 <= value <= MAX_BAR_SECONDS,
    ),
    "temperature_scale": _Kind(
        f"a number in (0, {MAX_TEMPERATURE_SCALE:g}]",
        lambda value: _is_float(value) and 0.0 < value <= MAX_TEMPERATURE_SCALE,
    ),
    "training": _OBJECT,
    "metrics": _OBJECT,
    NETWORK: _Kind(
        "the name of a registered network",
        lambda value: isinstance(value, str) and bool(value.strip()) and value != CONV,
    ),
    "parent": _Kind("null or 64 hex digits", lambda value: value is None or _is_hash(value)),
    "git_commit": _Kind(
        "null or 40 hex digits, with -dirty or without",
        lambda value: value is None or _is_commit(value),
    ),
    "versions": _Kind(
        "an object of texts",
        lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
    ),
    "probe": _Kind(
        f"{PROBE_ROWS} x {NUM_AGENTS} x {NUM_ACTIONS} numbers with a decimal point", _is_probe
    ),
    "files": _Kind(
        "an object of hashes, 64 hex digits each",
        lambda value: isinstance(value, dict) and all(map(_is_hash, value.values())),
    ),
}


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Return the manifest after every check that needs nothing but the manifest.

    Raises:
        BundleError: not UTF-8 or not JSON; a key twice, missing, unknown or of a wrong type; a
            number that is not finite; nested too deep; an id that does not fit the content.
    """
    manifest = _parse(data)
    if not isinstance(manifest, dict):
        raise BundleError(f"{MANIFEST}: must be an object, found {_shown(manifest)}")
    # first of all: another format has other keys
    _check_kind(manifest, "format_version")
    missing = sorted(set(_KINDS) - set(manifest) - {NETWORK})
    unknown = sorted(set(manifest) - set(_KINDS))
    if missing or unknown:
        raise BundleError(f"{MANIFEST}: missing keys {missing}, unknown keys {unknown}")
    for key in manifest:
        _check_kind(manifest, key)
    if manifest["bundle_id"] != manifest_id(manifest):
        raise BundleError(f"bundle_id does not match the content of {MANIFEST}: it was altered")
    _check_training(manifest["training"])
    return manifest


def network_of(manifest: dict[str, Any]) -> str:
    """Return the name of the actors' network."""
    return str(manifest.get(NETWORK, CONV))


def manifest_id(manifest: dict[str, Any]) -> str:
    """Return the bundle id: SHA-256 (hex) of the manifest without its ``bundle_id``."""
    return content_hash({key: value for key, value in manifest.items() if key != "bundle_id"})


def check_features(manifest: dict[str, Any]) -> None:
    """Check that the bundle was made for the features that this program computes.

    Raises:
        BundleError: the specification or its hash differs.
    """
    # by hash, because true == 1 and 1.0 == 1
    for key, found in (
        ("feature_hash", manifest["feature_hash"]),
        ("feature_spec", content_hash(manifest["feature_spec"])),
    ):
        if found != feature_hash():
            raise BundleError(
                f"{key}: the bundle was made for other features (hash {found[:12]}) "
                f"than this program computes ({feature_hash()[:12]})"
            )


def typed_rules(manifest: dict[str, Any]) -> Rules:
    """Return the rules.

    Raises:
        BundleError: they break a rule, leave something to defaults, or do not fit their hash.
    """
    values, defaults = copy.deepcopy(manifest["rules"]), to_dict(Rules())
    added = [(section, key) for since, section, key in ADDED if manifest["format_version"] < since]
    for section, key in added:
        if isinstance(values.get(section), dict):
            values[section].setdefault(key, defaults[section][key])
    rules = _typed(Rules, values, "rules")
    plain = to_dict(rules)
    for section, key in added:
        del plain[section][key]
    if content_hash(plain) != manifest["rules_hash"]:
        raise BundleError("the rules hash does not match the rules: another version made them")
    return rules


def typed_instrument(manifest: dict[str, Any]) -> Instrument:
    """Return the instrument, with its base quantity; one from before funding has none.

    Raises:
        BundleError: it breaks a rule, leaves something to defaults, or has no base quantity.
    """
    values = manifest["instrument"]
    if isinstance(values, dict) and not _FUNDING.keys() & values.keys():
        values = values | _FUNDING
    instrument = _typed(Instrument, values, "instrument")
    if instrument.base_quantity is None:
        raise BundleError(f"{MANIFEST}: instrument.base_quantity must be a number, found null")
    return instrument


_FUNDING: Final = {"funding_rate": 0.0, "funding_hours": 8}


def _typed(kind: type[T], values: dict[str, Any], name: str) -> T:
    try:
        typed = from_dict(kind, values, name)
    except ConfigError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error
    if to_dict(typed) != values:
        raise BundleError(f"{MANIFEST}: {name} must name every setting, some are left to defaults")
    return typed


def _check_training(training: dict[str, Any]) -> None:
    config, found = training.get("config"), training.get("config_hash")
    if found is not None and found != content_hash(config):
        raise BundleError(f"{MANIFEST}: training.config_hash does not match training.config")


def _check_kind(manifest: dict[str, Any], key: str) -> None:
    kind = _KINDS[key]
    if key not in manifest:
        raise BundleError(f"{MANIFEST}: missing keys ['{key}']")
    if not kind.holds(manifest[key]):
        raise BundleError(f"{MANIFEST}: {key} must be {kind.words}, found {_shown(manifest[key])}")


def _parse(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object_without_repetition,
            parse_float=_finite,
            parse_constant=_finite,
        )
        _check_depth(value)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST}: not valid JSON: {error}") from error
    return value


def _object_without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"duplicate key {_shown(twice)}")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _shown(value: Any) -> str:
    return reprlib.repr(value)

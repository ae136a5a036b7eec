"""The policy bundle: what backtest and service load. A folder of files, never a pickle.

    manifest.json        identity, feature and rule hashes, lineage, metrics, a hash of every file
    actors.safetensors   weights of the three actors, named agent.parameter, float32
    actors.onnx          the same three actors as one graph, for ONNX Runtime

The bundle id is the SHA-256 of the manifest without the id, so it covers every file's hash. Loading
checks every hash, the feature specification, the rules and the weights, and refuses anything else.
An engine is checked on a fixed probe, whose logits the manifest holds, before it is handed out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.atomic import atomic_folder, atomic_write_bytes
from rllib_tactical.artifacts.output_folder import ReplaceableOutput
from rllib_tactical.artifacts.versions import git_commit, library_versions
from rllib_tactical.bundle.inference import LogitsEngine, OnnxEngine, TorchEngine
from rllib_tactical.bundle.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    NETWORK,
    check_features,
    manifest_id,
    network_of,
    parse_manifest,
    typed_instrument,
    typed_rules,
)
from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.bundle.weights import (
    ONNX,
    WEIGHTS,
    check_parity,
    check_probe,
    check_weights,
    onnx_bytes,
    parse_weights,
    probe_inputs,
    read_file,
)
from rllib_tactical.config.loader import content_hash, from_dict, to_dict
from rllib_tactical.data.sizing import SIZE_FROM
from rllib_tactical.data.synergy_events import DETECT, NONE, OF_FILE, SYNERGIES
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import FEATURE_SPEC, feature_hash
from rllib_tactical.domain.types import Float32Array, Instrument
from rllib_tactical.errors import BundleError, UnreadableError

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
FILES: Final = (MANIFEST, WEIGHTS, ONNX)

BUNDLE_OUTPUT: Final = ReplaceableOutput(name="bundle", files=frozenset(FILES), marker=MANIFEST)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle. ``manifest`` is the parsed manifest, the rest its typed parts."""

    path: Path
    manifest: dict[str, Any]
    rules: Rules
    instrument: Instrument
    temperature_scale: float
    weights: dict[str, Float32Array]
    onnx_model: bytes

    @property
    def bundle_id(self) -> str:
        """The 64 hex digits that identify the bundle."""
        return str(self.manifest["bundle_id"])

    @property
    def bar_seconds(self) -> int:
        """Length of the bars that the bundle was trained on, seconds."""
        return int(self.manifest["bar_seconds"])

    @property
    def size_from(self) -> dict[str, Any] | None:
        """What the base quantity is from; None in bundles made before it was recorded."""
        data = self.manifest["training"].get("data")
        origin = data.get(SIZE_FROM) if isinstance(data, dict) else None
        return origin if isinstance(origin, dict) else None

    @property
    def synergies(self) -> str:
        """What the policy knew of synergies in training: ``detect``, ``none`` or ``file``.

        ``detect`` in bundles that do not say, because it is what training does by default.
        """
        data = self.manifest["training"].get("data")
        known = data.get(SYNERGIES) if isinstance(data, dict) else None
        if known in (None, DETECT, NONE):
            return str(known or DETECT)
        return OF_FILE

    def engine(self, name: str = "onnx") -> LogitsEngine:
        """Return the actors, ready to run: ``onnx`` (default) or ``torch``.

        Raises:
            BundleError: the model cannot be loaded, does not give the logits recorded at export,
                or the engine's name is unknown.
        """
        if name not in ("onnx", "torch"):
            raise BundleError(f"engine must be onnx or torch, found {name!r}")
        engine: LogitsEngine
        if name == "onnx":
            engine = OnnxEngine(self.onnx_model)
        else:
            engine = TorchEngine(self.weights, network_of(self.manifest))
        check_probe(engine, self.manifest["probe"])
        return engine


def export_bundle(
    out: Path,
    *,
    weights: dict[str, Float32Array],
    rules: Rules,
    instrument: Instrument,
    bar_seconds: int,
    temperature_scale: float,
    training: dict[str, Any],
    metrics: dict[str, Any],
    parent: str | None = None,
    network: str = CONV,
) -> Bundle:
    """Write a bundle folder in one step and return it as loaded from disk.

    Whoever is killed during the export leaves the bundle that was there before.

    Args:
        out: the folder to make; an existing bundle there is replaced, anything else is refused.
        weights: the actors' weights by ``agent.parameter``, float32.
        rules: aggregation, order and risk rules.
        instrument: with its base_quantity resolved.
        bar_seconds: length of a bar.
        temperature_scale: applied wherever the bundle decides.
        training: configuration, hashes of configuration and data, and counts.
        metrics: evaluation results known at export.
        parent: id of the bundle that this one follows.
        network: name of the actors' network.

    Raises:
        BundleError: the network is not registered, the weights do not fit, the ONNX model
            disagrees with them, or a value has no place in a manifest.
        UsageError: ``out`` holds something that is not a bundle.
    """
    from safetensors.numpy import save

    BUNDLE_OUTPUT.require(out)
    check_weights(weights, network)
    # as they will be read: a whole number in a place for fractions becomes one
    rules = from_dict(Rules, to_dict(rules), "rules")
    instrument = from_dict(Instrument, to_dict(instrument), "instrument")
    files = {WEIGHTS: save(weights), ONNX: onnx_bytes(weights, network)}
    check_parity(files[ONNX], weights, network)
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "feature_spec": FEATURE_SPEC,
        "feature_hash": feature_hash(),
        "rules": to_dict(rules),
        "rules_hash": content_hash(rules),
        "instrument": to_dict(instrument),
        "bar_seconds": bar_seconds,
        "temperature_scale": float(temperature_scale),
        "training": training,
        "metrics": metrics,
        "parent": parent,
        "git_commit": git_commit(),
        "versions": library_versions(),
        "probe": TorchEngine(weights, network).logits(probe_inputs()).tolist(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    if network != CONV:
        manifest[NETWORK] = network
    manifest["bundle_id"] = manifest_id(manifest)
    files[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    _verify(files)

    _write(files, out)
    return load_bundle(out)


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        UnreadableError: there is no bundle at ``path``, or the folder cannot be read.
        BundleError: a file is missing, altered or unexpected, or the bundle was made for other
            features or rules than this program's.
    """
    return _bundle_of(_read(path), path)


def copy_bundle(path: Path, bundle_id: str, out: Path) -> None:
    """Copy the bundle at ``path`` to ``out``, verified as it is written.

    Raises:
        UnreadableError: there is no bundle at ``path``, or the folder cannot be read.
        BundleError: it is damaged, or another one than ``bundle_id``.
        OSError: ``out`` cannot be written.
    """
    files = _read(path)
    found = _bundle_of(files, path).bundle_id
    if found != bundle_id:
        raise BundleError(f"bundle {bundle_id[:12]} was chosen, {path} now holds {found[:12]}")
    _write(files, out)


def _write(files: dict[str, bytes], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(out) as staging:
        for name, data in files.items():
            atomic_write_bytes(staging / name, data)


def _read(path: Path) -> dict[str, bytes]:
    manifest_path = path / MANIFEST
    try:
        if not (manifest_path.is_file() or manifest_path.is_symlink()):
            raise UnreadableError(f"{path}: no bundle here ({MANIFEST} is missing)")
        strange = sorted({entry.name for entry in path.iterdir()} - {*FILES})
    except (OSError, ValueError) as error:  # ValueError: what no path can hold, such as NUL
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(f"no bundle here: {reason}: {str(path)!r}") from error
    if strange:
        raise BundleError(f"{path}: must hold nothing but a bundle, found {', '.join(strange[:5])}")
    return {
        name: read_file(path / name, MAX_MANIFEST_BYTES if name == MANIFEST else MAX_FILE_BYTES)
        for name in FILES
    }


def _bundle_of(files: dict[str, bytes], path: Path) -> Bundle:
    """Return the bundle that ``files`` are, verified."""
    manifest, rules, instrument, weights = _verify(files)
    scale = float(manifest["temperature_scale"])
    return Bundle(path, manifest, rules, instrument, scale, weights, files[ONNX])


def _verify(
    files: dict[str, bytes],
) -> tuple[dict[str, Any], Rules, Instrument, dict[str, Float32Array]]:
    """Return manifest, rules, instrument and weights when everything in ``files`` fits."""
    manifest = parse_manifest(files[MANIFEST])
    data = {name: content for name, content in files.items() if name != MANIFEST}
    if set(manifest["files"]) != set(data):
        raise BundleError(f"{MANIFEST}: files must list exactly {sorted(data)}")
    for name, content in data.items():
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]:
            raise BundleError(f"{name}: hash mismatch, the file was altered or damaged")
    check_features(manifest)
    weights = parse_weights(data[WEIGHTS], network_of(manifest))
    return manifest, typed_rules(manifest), typed_instrument(manifest), weights

"""The policy bundle: what backtest and service load. A folder of files, never a pickle.

    manifest.json        identity, feature and rule hashes, lineage, metrics, a hash of every file
    actors.safetensors   weights of the three actors, named agent.parameter, float32
    actors.onnx          the same three actors as one graph, for ONNX Runtime

The bundle id is the SHA-256 of the manifest without the id, so it covers every file's hash. Loading
checks every hash, the feature specification and the rules, and refuses anything else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.atomic import atomic_write_bytes
from rllib_tactical.config import MAX_TEMPERATURE_SCALE, content_hash, from_dict, to_dict
from rllib_tactical.domain.features import FEATURE_SPEC, feature_hash
from rllib_tactical.domain.pipeline import Rules
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, Float32Array, Instrument
from rllib_tactical.errors import BundleError, ConfigError, UnreadableError
from rllib_tactical.inference import LogitsEngine, OnnxEngine, TorchEngine

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "actors.safetensors"
ONNX: Final = "actors.onnx"
PARITY_TOLERANCE: Final = 1e-4
MAX_FILE_BYTES: Final = 64 * 1024 * 1024

_KEYS: Final = {
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
    "files",
}


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
        """Identity of the bundle: 64 hex digits."""
        return str(self.manifest["bundle_id"])

    @property
    def bar_seconds(self) -> int:
        """Length of the bars that the bundle was trained on, seconds."""
        return int(self.manifest["bar_seconds"])

    def engine(self, name: str = "onnx") -> LogitsEngine:
        """Return the actors, ready to run: ``onnx`` (default) or ``torch``.

        Raises:
            BundleError: the model cannot be loaded or the engine's name is unknown.
        """
        if name == "onnx":
            return OnnxEngine(self.onnx_model)
        if name == "torch":
            return TorchEngine(self.weights)
        raise BundleError(f"engine must be onnx or torch, found {name!r}")


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
) -> Bundle:
    """Write a bundle folder and return it as loaded from disk.

    Args:
        out: the folder to make; an existing bundle there is replaced, anything else is refused.
        weights: the actors' weights by ``agent.parameter``, float32.
        rules: aggregation, order and risk rules.
        instrument: with its base_quantity resolved.
        bar_seconds: length of a bar.
        temperature_scale: applied wherever the bundle decides.
        training: configuration, hashes of configuration and data, and counts.
        metrics: evaluation results known at export.
        parent: id of the bundle this one was trained from.

    Raises:
        BundleError: the weights do not fit, the ONNX model disagrees with them, or ``out`` holds
            something that is not a bundle.
    """
    from safetensors.numpy import save

    if out.exists() and not (
        out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))
    ):
        raise BundleError(f"{out} exists and is not a bundle: choose another folder")
    if instrument.base_quantity is None:
        raise BundleError("instrument.base_quantity must be resolved before export")
    files = {WEIGHTS: save(weights), ONNX: onnx_bytes(weights)}
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "feature_spec": FEATURE_SPEC,
        "feature_hash": feature_hash(),
        "rules": to_dict(rules),
        "rules_hash": content_hash(rules),
        "instrument": to_dict(instrument),
        "bar_seconds": bar_seconds,
        "temperature_scale": temperature_scale,
        "training": training,
        "metrics": metrics,
        "parent": parent,
        "git_commit": git_commit(),
        "versions": _versions(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    manifest["bundle_id"] = _manifest_id(manifest)
    files[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    _check_parity(files[ONNX], weights)

    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        staging.chmod(0o755)
        for name, data in files.items():
            atomic_write_bytes(staging / name, data)
        _swap(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return load_bundle(out)


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        UnreadableError: there is no bundle at ``path``.
        BundleError: a file is missing, altered or unexpected, or the bundle was made for other
            features or rules than this program's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise UnreadableError(f"{path}: no bundle here ({MANIFEST} is missing)")
    manifest = _read_manifest(manifest_path)
    files = {name: _read_file(path / name) for name in (WEIGHTS, ONNX)}
    _verify(manifest, files)
    rules = _typed(Rules, manifest["rules"], "rules")
    instrument = _typed(Instrument, manifest["instrument"], "instrument")
    if content_hash(rules) != manifest["rules_hash"]:
        raise BundleError(
            "the bundle's rules hash does not match its rules: it was made by another version"
        )
    scale = manifest["temperature_scale"]
    if not isinstance(scale, float) or not 0.0 < scale <= MAX_TEMPERATURE_SCALE:
        raise BundleError(
            f"temperature_scale must be in (0, {MAX_TEMPERATURE_SCALE:g}], found {scale!r}"
        )
    try:
        weights = load(files[WEIGHTS])
    except SafetensorError as error:
        raise BundleError(f"{WEIGHTS}: not a safetensors file: {error}") from error
    return Bundle(path, manifest, rules, instrument, scale, weights, files[ONNX])


def onnx_bytes(weights: dict[str, Float32Array]) -> bytes:
    """Return the three actors as one ONNX graph: inputs (N, 60, 7) -> logits (N, 3, 3).

    Raises:
        BundleError: the weights do not fit the actors.
    """
    import torch

    from rllib_tactical.networks import actor_stack_from_weights

    stack = actor_stack_from_weights(weights)
    example = torch.zeros(2, WINDOW, NUM_FEATURES)
    # the exporter warns about its own internals and about packages it does not need
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            stack,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["inputs"],
            output_names=["logits"],
            dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def _check_parity(model: bytes, weights: dict[str, Float32Array]) -> None:
    inputs = np.random.default_rng(0).normal(size=(64, WINDOW, NUM_FEATURES)).astype(np.float32)
    difference = np.abs(OnnxEngine(model).logits(inputs) - TorchEngine(weights).logits(inputs))
    if not difference.max() <= PARITY_TOLERANCE:
        raise BundleError(
            f"ONNX and PyTorch logits differ by {difference.max():.2e}, "
            f"at most {PARITY_TOLERANCE:.0e} is accepted"
        )


def _manifest_id(manifest: dict[str, Any]) -> str:
    return content_hash({key: value for key, value in manifest.items() if key != "bundle_id"})


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read_file(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST}: not valid JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{MANIFEST}: must be an object, found {type(manifest).__name__}")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"format_version must be {FORMAT_VERSION}, found {manifest.get('format_version')!r}"
        )
    if set(manifest) != _KEYS:
        wrong = sorted(set(manifest) ^ _KEYS)
        raise BundleError(f"{MANIFEST}: missing or unknown keys: {', '.join(wrong)}")
    return manifest


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(f"{path.name}: larger than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error


def _verify(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    if manifest["bundle_id"] != _manifest_id(manifest):
        raise BundleError(f"bundle_id does not match the content of {MANIFEST}: it was altered")
    if not isinstance(manifest["files"], dict) or set(manifest["files"]) != set(files):
        raise BundleError(f"{MANIFEST}: files must list exactly {sorted(files)}")
    for name, data in files.items():
        found = hashlib.sha256(data).hexdigest()
        if found != manifest["files"][name]:
            raise BundleError(f"{name}: hash mismatch, the file was altered or damaged")
    if manifest["feature_hash"] != feature_hash() or manifest["feature_spec"] != FEATURE_SPEC:
        raise BundleError(
            f"the bundle was made for other features (hash {str(manifest['feature_hash'])[:12]}) "
            f"than this program computes ({feature_hash()[:12]})"
        )
    if not isinstance(manifest["bar_seconds"], int) or manifest["bar_seconds"] < 1:
        raise BundleError(f"bar_seconds must be >= 1, found {manifest['bar_seconds']!r}")


def _typed(kind: Any, values: Any, name: str) -> Any:
    try:
        return from_dict(kind, values, name)
    except ConfigError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error


def _swap(staging: Path, out: Path) -> None:
    """Put the finished folder in place; an old bundle is moved aside first and removed last."""
    if not out.exists():
        os.replace(staging, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    os.replace(out, old)
    os.replace(staging, out)
    shutil.rmtree(old, ignore_errors=True)


def git_commit() -> str | None:
    """Return the commit of this checkout; None where there is none to be read."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch", "ray", "onnxruntime", "safetensors"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions

"""The weights and the graph of a policy bundle: what they must hold, and how files are read."""

from __future__ import annotations

import logging
import os
import stat
import warnings
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from rllib_tactical.bundle.inference import LogitsEngine, OnnxEngine, TorchEngine
from rllib_tactical.bundle.manifest import PROBE_ROWS
from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.domain.types import (
    AGENTS,
    NUM_ACTIONS,
    NUM_FEATURES,
    WINDOW,
    Float32Array,
)
from rllib_tactical.errors import BundleError

WEIGHTS: Final = "actors.safetensors"
ONNX: Final = "actors.onnx"
PARITY_TOLERANCE: Final = 1e-4
"""Largest difference of two engines' logits: absolute, and relative to the logit."""

ACTOR_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "mean": (NUM_FEATURES,),
    "std": (NUM_FEATURES,),
    "temperature": (),
    "attention": (NUM_FEATURES,),
    "conv1.weight": (32, NUM_FEATURES, 3),
    "conv1.bias": (32,),
    "conv2.weight": (64, 32, 3),
    "conv2.bias": (64,),
    "fc1.weight": (256, 1024),
    "fc1.bias": (256,),
    "fc2.weight": (128, 256),
    "fc2.bias": (128,),
    "out.weight": (NUM_ACTIONS, 128),
    "out.bias": (NUM_ACTIONS,),
}
"""Weights and buffers of one actor of the network ``conv``: a bundle is read without PyTorch."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most ``max_bytes``; links are not followed.

    Raises:
        BundleError: missing, a link, a folder or device, too large or not readable.
    """
    try:
        # neither a link out of the folder nor a pipe that never ends
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BundleError(f"{path.name} cannot be read: not a regular file")
            data = file.read(max_bytes + 1)
    except OSError as error:
        reason = "a link is not accepted" if path.is_symlink() else error.strerror
        raise BundleError(f"{path.name} cannot be read: {reason}") from error
    if len(data) > max_bytes:
        raise BundleError(f"{path.name}: larger than {max_bytes} bytes")
    return data


def parse_weights(data: bytes, network: str = CONV) -> dict[str, Float32Array]:
    """Return the weights by ``agent.parameter`` after all checks.

    Raises:
        BundleError: not safetensors, or what ``check_weights`` refuses.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        weights: dict[str, Float32Array] = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        # beside its own error the library lets those of a data type without a NumPy twin through
        raise BundleError(f"{WEIGHTS}: not a safetensors file of arrays: {error}") from error
    check_weights(weights, network)
    return weights


def actor_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights and buffers of one actor.

    Raises:
        BundleError: no network of that name is registered.
    """
    if network == CONV:
        return ACTOR_SHAPES
    from rllib_tactical.bundle.networks import make_actor

    return {name: tuple(value.shape) for name, value in make_actor(network).state_dict().items()}


def check_weights(weights: dict[str, Any], network: str = CONV) -> None:
    """Check names, data type, shapes and values of the actors' weights.

    Raises:
        BundleError: the network is not registered; a weight is missing, superfluous, of another
            type or shape, not finite, or a scale that is not positive; the message names it.
    """
    shapes = {
        f"{agent}.{name}": shape
        for agent in AGENTS
        for name, shape in actor_shapes(network).items()
    }
    missing, unknown = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
    if missing or unknown:
        raise BundleError(f"{WEIGHTS}: missing weights {missing[:5]}, unknown {unknown[:5]}")
    for name, shape in shapes.items():
        value = weights[name]
        if value.dtype != np.float32 or value.shape != shape:
            raise BundleError(
                f"{WEIGHTS}: {name} must be float32 {shape}, found {value.dtype} {value.shape}"
            )
        if not np.isfinite(value).all():
            raise BundleError(f"{WEIGHTS}: {name} holds values that are not finite")
        if name.endswith((".std", ".temperature")) and not (value > 0).all():
            raise BundleError(f"{WEIGHTS}: {name} must be > 0, found {value.min():g}")


def onnx_bytes(weights: dict[str, Float32Array], network: str = CONV) -> bytes:
    """Return the three actors as one ONNX graph: inputs (N, 60, 7) -> logits (N, 3, 3).

    The bytes depend on the weights and the libraries, not on where the program is installed.

    Raises:
        BundleError: the weights do not fit the actors.
    """
    import torch

    from rllib_tactical.bundle.networks import actor_stack_from_weights

    stack = actor_stack_from_weights(weights, network)
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
    # None is what the other exporter (dynamo=False) returns
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    _remove_notes(model)
    return bytes(model.SerializeToString())


def _remove_notes(message: Any) -> None:
    """Clear the notes in an ONNX message and those in it: the exporter's hold paths of files."""
    for field in ("doc_string", "metadata_props"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    for field, value in message.ListFields():
        if field.message_type is not None:
            repeated = hasattr(value, "add")
            for inner in value if repeated else (value,):
                _remove_notes(inner)


def check_parity(model: bytes, weights: dict[str, Float32Array], network: str = CONV) -> None:
    """Check that the ONNX graph and PyTorch give the same logits on random inputs.

    Raises:
        BundleError: they differ by more than ``PARITY_TOLERANCE``.
    """
    inputs = np.random.default_rng(0).normal(size=(64, WINDOW, NUM_FEATURES)).astype(np.float32)
    found, expected = OnnxEngine(model).logits(inputs), TorchEngine(weights, network).logits(inputs)
    if not _close(found, expected):
        raise BundleError(
            f"{ONNX}: ONNX and PyTorch logits differ by {np.abs(found - expected).max():.2e}, "
            f"at most {PARITY_TOLERANCE:.0e} is accepted"
        )


def probe_inputs() -> Float32Array:
    """Return the fixed network inputs (4, 60, 7) on which a bundle's logits are recorded."""
    waves = 2.0 * np.sin(0.618 * np.arange(PROBE_ROWS * WINDOW * NUM_FEATURES))
    inputs: Float32Array = waves.reshape(PROBE_ROWS, WINDOW, NUM_FEATURES).astype(np.float32)
    return inputs


def check_probe(engine: LogitsEngine, recorded: list[Any]) -> None:
    """Check that an engine gives the logits that were recorded at export.

    Catches a graph of other weights, and a machine or library that computes something else.

    Raises:
        BundleError: the engine fails, or its logits differ by more than ``PARITY_TOLERANCE``.
    """
    expected = np.asarray(recorded, dtype=np.float32)
    try:
        found = engine.logits(probe_inputs())
    except Exception as error:
        # onnxruntime raises classes of its own that share no base but Exception
        raise BundleError(f"the {engine.name} actors fail on the probe: {error}") from error
    if found.shape != expected.shape or not _close(found, expected):
        raise BundleError(
            f"the {engine.name} actors do not give the logits that were recorded at export "
            f"(probe in the manifest): the model is another one, or this machine computes otherwise"
        )


def _close(found: Float32Array, expected: Float32Array) -> bool:
    return np.allclose(found, expected, rtol=PARITY_TOLERANCE, atol=PARITY_TOLERANCE)

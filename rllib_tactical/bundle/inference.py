"""The actors outside training: network input to probabilities, without Ray.

ONNX Runtime on one thread is the engine of backtest, evaluation and service. It gives the same
bits for a row whatever the batch it stands in, which a PyTorch matrix product does not promise, so
a backtest in batches of 256 and a service that sees one matrix at a time agree exactly. PyTorch is
the fallback where ONNX Runtime is missing.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np

from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.domain.decision.votes import softmax
from rllib_tactical.domain.features.table import InputViews
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import (
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_FEATURES,
    WINDOW,
    Float32Array,
    FloatArray,
    IntArray,
)
from rllib_tactical.errors import BundleError

BATCH = 256


def _runtime() -> Any:
    """Return ONNX Runtime, told not to report to its maker.

    It would send events over HTTPS from each process, and keep them in one database of the user
    that all processes share.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    import onnxruntime

    return onnxruntime


class LogitsEngine(Protocol):
    """Anything that maps network inputs (N, 60, 7) float32 to logits (N, 3, 3) float32."""

    name: str

    def logits(self, inputs: Float32Array) -> Float32Array:
        """Return logits / temperature per agent and action."""


class OnnxEngine:
    """The three actors as one ONNX graph on one CPU thread."""

    name = "onnx"

    def __init__(self, model: bytes) -> None:
        onnxruntime = _runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime raises classes of its own that share no base but Exception
            raise BundleError(f"the ONNX model of the bundle cannot be loaded: {error}") from error

    @staticmethod
    def run_options() -> Any:
        """Return options for one run; setting their ``terminate`` has that run stopped."""
        onnxruntime = _runtime()

        return onnxruntime.RunOptions()

    def logits(self, inputs: Float32Array, options: Any = None) -> Float32Array:
        """Return logits (N, 3, 3) float32; ``options`` from ``run_options``."""
        out: Float32Array = self._session.run(["logits"], {"inputs": inputs}, options)[0]
        return out


class TorchEngine:
    """The three actors in PyTorch, for machines without ONNX Runtime and as a cross-check."""

    name = "torch"

    def __init__(self, weights: dict[str, Float32Array], network: str = CONV) -> None:
        from rllib_tactical.bundle.networks import actor_stack_from_weights

        self._stack = actor_stack_from_weights(weights, network)

    def logits(self, inputs: Float32Array) -> Float32Array:
        """Return logits (N, 3, 3) float32."""
        import torch

        with torch.inference_mode():
            out: Float32Array = self._stack(torch.from_numpy(inputs)).numpy()
        return out


def probabilities(
    engine: LogitsEngine, inputs: Float32Array, temperature_scale: float
) -> FloatArray:
    """Return each agent's probabilities (N, 3 agents, 3 actions) float64.

    Args:
        engine: the actors.
        inputs: network inputs (N, 60, 7) float32.
        temperature_scale: the bundle's temperature scale, times a request's own if it has one.

    Raises:
        BundleError: inputs of a wrong shape or dtype, or logits that are not finite.
    """
    return softmax(logits_in_batches(engine, inputs), temperature_scale)


def logits_of(engine: LogitsEngine, views: InputViews, t: IntArray) -> FloatArray:
    """Return logits (N, 3, 3) float64 at bars ``t`` (N,), gathering one batch of inputs at a time.

    Raises:
        BundleError: the actors return values that are not finite.
    """
    parts = [
        logits_in_batches(engine, views.gather(t[i : i + BATCH])) for i in range(0, len(t), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, NUM_AGENTS, NUM_ACTIONS))


def logits_in_batches(engine: LogitsEngine, inputs: Float32Array) -> FloatArray:
    """Return logits (N, 3, 3) float64 of network inputs (N, 60, 7) float32.

    Raises:
        BundleError: inputs of a wrong shape or dtype, or logits that are not finite.
    """
    require_shape(inputs, ("N", WINDOW, NUM_FEATURES), np.float32, "network input", BundleError)
    if 0 < len(inputs) <= BATCH:
        logits = engine.logits(inputs)
    else:
        parts = [engine.logits(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
        shape = (0, NUM_AGENTS, NUM_ACTIONS)
        logits = np.concatenate(parts) if parts else np.zeros(shape, dtype=np.float32)
    if not np.isfinite(logits).all():
        raise BundleError("the actors returned values that are not finite")
    return logits.astype(np.float64)

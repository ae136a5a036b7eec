from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bundle.inference import TorchEngine, logits_in_batches, probabilities
from rllib_tactical.errors import BundleError
from tests.actors import untrained_weights
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_wrong_arrays_are_refused() -> None:
    engine = TorchEngine(untrained_weights())
    inputs = np.zeros((2, 60, 7), dtype=np.float32)
    for function in (
        partial(logits_in_batches, engine),
        partial(probabilities, engine, temperature_scale=1.0),
    ):
        assert_wrong_arrays_are_refused(function, BundleError, inputs=inputs)


def test_onnx_runtime_does_not_report_to_its_maker(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    code = "from rllib_tactical.bundle.inference import OnnxEngine; OnnxEngine.run_options()"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []  # else a database of what is to be sent

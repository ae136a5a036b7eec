"""A bundle becomes a decider that is warm and under the time limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.errors import BundleError, UnreadableError
from serve.decision.deadline import WatchdogOnnx
from serve.decision.loading import load_decider


def test_the_actors_of_a_loaded_bundle_have_a_time_limit(bundle: Bundle) -> None:
    service = ServiceConfig(inference_timeout_ms=7.0)
    made = load_decider(str(bundle.path), bundle.bundle_id, PerformanceConfig(), service)
    assert made.bundle.bundle_id == bundle.bundle_id
    assert not made.bundle.weights  # the engine has them
    assert not made.bundle.onnx_model
    assert isinstance(made._engine, WatchdogOnnx)
    assert made._engine._timeout_s == 0.007


def test_another_bundle_at_the_path_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    settings = PerformanceConfig(), ServiceConfig()
    with pytest.raises(BundleError, match=f"bundle {'0' * 12} was chosen, .* now holds"):
        load_decider(str(bundle.path), "0" * 64, *settings)
    with pytest.raises(UnreadableError, match="no bundle here"):
        load_decider(str(tmp_path), bundle.bundle_id, *settings)

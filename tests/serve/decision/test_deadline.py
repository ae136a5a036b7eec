from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import OnnxEngine
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, Float32Array
from rllib_tactical.errors import BundleError
from serve.decision.deadline import DeadlineEngine, WatchdogOnnx, bundle_engine, under_time_limit
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from tests.serve.conftest import request_at

INPUTS = np.zeros((1, WINDOW, NUM_FEATURES), dtype=np.float32)


class GatedEngine:
    """Answers once the gate is open; counts its calls in the answer."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls = 0

    def logits(self, inputs: Float32Array) -> Float32Array:
        self.gate.wait(timeout=30.0)
        self.calls += 1
        return np.full((len(inputs), 3, 3), self.calls, dtype=np.float32)


class BrokenEngine:
    name = "broken"

    def logits(self, inputs: Float32Array) -> Float32Array:
        raise MemoryError("no memory")


def test_the_same_logits_as_without(bundle: Bundle) -> None:
    plain = bundle.engine()
    limited = under_time_limit(bundle_engine(bundle), 30.0)
    assert isinstance(limited, WatchdogOnnx)
    inputs = np.random.default_rng(0).normal(size=(5, WINDOW, NUM_FEATURES)).astype(np.float32)
    assert limited.logits(inputs).tobytes() == plain.logits(inputs).tobytes()
    assert limited.name == "onnx"


def test_too_late_is_an_error_and_the_late_answer_is_dropped() -> None:
    engine = GatedEngine()
    limited = DeadlineEngine(engine, 0.01)
    with pytest.raises(BundleError, match="more than 10 ms"):
        limited.logits(INPUTS)
    with pytest.raises(BundleError, match="still work on an earlier decision"):
        limited.logits(INPUTS)
    engine.gate.set()
    limited._timeout_s = 30.0
    while True:
        try:
            answer = limited.logits(INPUTS)
            break
        except BundleError:
            continue
    assert answer[0, 0, 0] == engine.calls == 2


def test_a_run_that_takes_too_long_is_stopped_and_the_next_one_is_as_ever(bundle: Bundle) -> None:
    limited = WatchdogOnnx(OnnxEngine(bundle.onnx_model), 0.01)
    many = np.zeros((100_000, WINDOW, NUM_FEATURES), dtype=np.float32)
    with pytest.raises(BundleError, match="more than 10 ms"):
        limited.logits(many)
    limited._timeout_s = 30.0
    assert limited.logits(INPUTS).tobytes() == bundle.engine().logits(INPUTS).tobytes()


def test_an_error_that_is_not_about_time_keeps_its_words(bundle: Bundle) -> None:
    limited = under_time_limit(bundle.engine("onnx"), 30.0)
    with pytest.raises(Exception, match="Invalid rank"):
        limited.logits(np.zeros(3, dtype=np.float32))
    assert limited.logits(INPUTS).shape == (1, 3, 3)


def test_another_engine_gets_a_thread_of_its_own() -> None:
    assert isinstance(under_time_limit(GatedEngine(), 30.0), DeadlineEngine)


@pytest.mark.parametrize("name", ["watchdog", "actors"])
def test_no_thread_is_left_behind(bundle: Bundle, name: str) -> None:
    engine = bundle.engine("onnx") if name == "watchdog" else BrokenEngine()
    known = set(threading.enumerate())
    limited = under_time_limit(engine, 0.04)
    (thread,) = set(threading.enumerate()) - known
    assert thread.name == name
    del limited
    thread.join(timeout=30.0)
    assert not thread.is_alive()


def test_the_engines_own_error_reaches_the_caller() -> None:
    with pytest.raises(MemoryError, match="no memory"):
        DeadlineEngine(BrokenEngine(), 30.0).logits(INPUTS)


def test_torch_serves_where_onnx_cannot(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import rllib_tactical.bundle.bundle

    def missing(model: bytes) -> None:
        raise ImportError("onnxruntime")

    monkeypatch.setattr(rllib_tactical.bundle.bundle, "OnnxEngine", missing)
    assert bundle_engine(bundle).name == "torch"


def test_rules_answer_for_actors_that_hang(bundle: Bundle, table: FeatureTable) -> None:
    engine = GatedEngine()
    decider = Decider(bundle, PerformanceConfig(), engine=DeadlineEngine(engine, 0.01))
    state = RiskState(Account.opened(1e5))
    for _ in range(3):
        answer = decider.answer(json.dumps(request_at(table, 300)).encode(), state)
        assert answer.fallback
        assert answer.answer.source == "fallback"
    engine.gate.set()

"""The recent past of decisions, on a clock that the test moves."""

from __future__ import annotations

import shutil
from pathlib import Path

from serve.observability.latency_window import MINUTES, SAMPLES, DecisionWindow

NOW = 1_700_000_000.0


def test_window_keeps_the_last_thousand_and_one_hour() -> None:
    window = DecisionWindow()
    for i in range(SAMPLES + 5):
        window.add_decision(NOW, (0.0, 0.0, 0.0, float(i)), 0.5, fallback=False)
    found = window.recent(NOW)
    assert sorted(found.stages_ms[:, 3]) == [float(i) for i in range(5, SAMPLES + 5)]
    assert (found.decisions, found.avg_confidence) == (SAMPLES + 5, 0.5)
    assert window.recent(NOW + 60 * (MINUTES - 1)).decisions == SAMPLES + 5
    assert window.recent(NOW + 60 * MINUTES).decisions == 0


def test_window_counts_failures_apart() -> None:
    window = DecisionWindow()
    for fallback in (True, False, False, False):
        window.add_decision(NOW, (0.0,) * 4, 0.5, fallback)
    window.add_error(NOW)
    found = window.recent(NOW)
    assert found.model_error_rate == 0.25
    assert found.service_error_rate == 0.2
    for _ in range(5):
        window.add_write(NOW)
    found = window.recent(NOW)
    assert (found.writes, found.service_error_rate) == (5, 0.1)


def test_an_empty_window_has_no_figures() -> None:
    found = DecisionWindow().recent(NOW)
    assert found.avg_confidence is None
    assert found.last_decision_s is None
    assert found.model_error_rate == found.service_error_rate == 0.0


def test_replicas_see_each_other(tmp_path: Path) -> None:
    window = DecisionWindow(tmp_path)
    window.add_decision(NOW, (0.0,) * 4, 0.9, fallback=False)
    own = next(tmp_path.glob("*.window"))
    shutil.copy(own, tmp_path / "1.window")  # another replica with the same past
    (tmp_path / "2.window").write_bytes(b"half written")
    found = window.recent(NOW)
    assert (found.decisions, len(found.stages_ms)) == (2, 2)

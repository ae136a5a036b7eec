"""Counts and latencies as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import AccountView
from serve.api.decide_request import DecideInput, OverrideParams
from serve.api.responses import (
    AgentBreakdown,
    AgentVote,
    DecideAnswer,
    DecisionPart,
    ReasonCode,
    Scores,
    Timing,
)
from serve.decision.decider import Circumstances, Decided
from serve.observability.metrics import BATCH, Telemetry

NOW = 1_700_000_000.0


def decided(
    confidence: float = 0.8, fallback: bool = False, warnings: Sequence[Any] = ()
) -> Decided:
    vote = AgentVote(0, 1, None, 1.0, "execute", 1.0)
    answer = DecideAnswer(
        DecisionPart(
            "long", confidence, False, ReasonCode("risk_limit"), "long", Scores(1.0, 0.0, 0.0), None
        ),
        AgentBreakdown(vote, vote, vote),
        Timing(1.0, 2.0, 3.0, 6.0),
        "policy",
        "d",
        "b",
        list(warnings),
    )
    account = AccountView(*(np.zeros(1, dtype) for dtype in (float, float, int, float, bool, bool)))
    return Decided(
        answer,
        (1.0, 2.0, 3.0, 6.0),
        ("inference",),
        fallback,
        DecideInput(np.zeros((60, 7)), "TEST", 1.0, 1.0, 0, 0, OverrideParams(), b""),
        Circumstances(NOW, account, False, Control.NONE, None),
    )


def test_metrics_have_the_specified_names_and_buckets() -> None:
    telemetry = Telemetry(clock=lambda: NOW)
    telemetry.record_decision(decided())
    telemetry.record_decision(decided(fallback=True, warnings=["unknown_synergy_type"]))
    telemetry.record_request("/decide", 200)
    telemetry.record_error()
    text = telemetry.scrape().decode()
    for line in (
        'tactical_inference_latency_seconds_bucket{le="0.001"} 0.0',
        'tactical_inference_latency_seconds_bucket{le="0.005"} 2.0',
        'tactical_decisions_total{action_type="long",agent="ensemble"} 2.0',
        'tactical_decisions_total{action_type="execute",agent="fvg"} 2.0',
        'tactical_model_confidence_bucket{le="0.7"} 0.0',
        'tactical_model_confidence_bucket{le="0.8"} 2.0',
        'tactical_stage_latency_seconds_count{stage="total"} 2.0',
        'tactical_latency_budget_breaches_total{stage="inference"} 2.0',
        "tactical_fallback_decisions_total 1.0",
        "tactical_unknown_synergies_total 1.0",
        'tactical_requests_total{endpoint="/decide",status="200"} 1.0',
    ):
        assert line in text.splitlines()
    for bound in [".001", ".005", ".01", ".025", ".05", ".075", ".1", ".25", ".5", "1.0"]:
        assert f'tactical_inference_latency_seconds_bucket{{le="{float(bound)}"}}' in text
    past = telemetry.recent()
    assert (past.decisions, past.fallbacks, past.errors) == (2, 1, 1)


def test_many_answers_at_once_count_as_each_alone() -> None:
    alone, together = Telemetry(clock=lambda: NOW), Telemetry(clock=lambda: NOW)
    # on, beside and beyond the bounds of the buckets
    confidences = [0.0, 0.1, 0.1 + 1e-12, 0.35, 0.8, 1.0]
    for number, confidence in enumerate(confidences * 30):
        for telemetry in (alone, together):
            telemetry.record_decision(decided(confidence, fallback=number % 3 == 0))
            telemetry.record_request("/decide", 200 if number % 2 else 422)
        alone.flush()

    def counts(telemetry: Telemetry) -> list[str]:
        lines = telemetry.scrape().decode().splitlines()
        # a sum depends on the order by its rounding
        return [line for line in lines if "_created" not in line and "_sum" not in line]

    assert counts(alone) == counts(together)
    assert alone.recent().decisions == together.recent().decisions == 180
    assert alone.recent().stages_ms.tolist() == together.recent().stages_ms.tolist()
    buckets = [
        float(line.rsplit(" ", 1)[1]) for line in counts(together) if "fidence_bucket" in line
    ]
    assert buckets == [30, 60, 90, 90, 120, 120, 120, 120, 150, 150, 180, 180]


def test_answers_are_counted_in_batches_and_before_anything_is_read() -> None:
    telemetry = Telemetry(clock=lambda: NOW)
    for _ in range(BATCH - 1):
        telemetry.record_decision(decided())
    assert telemetry._window.recent(NOW).decisions == 0
    assert telemetry.recent().decisions == BATCH - 1
    for _ in range(BATCH):
        telemetry.record_decision(decided())
    assert telemetry._window.recent(NOW).decisions == 2 * BATCH - 1


@pytest.mark.slow
def test_processes_that_have_imported_the_library_before_share_their_metrics(
    tmp_path: Path,
) -> None:
    counted = """
import sys
from pathlib import Path
import prometheus_client  # as Ray does before a replica knows its folder
from serve.observability.metrics import Telemetry, share_metrics
share_metrics(Path(sys.argv[1]))
telemetry = Telemetry(Path(sys.argv[1]))
telemetry.record_request("/decide", 200)
print(telemetry.scrape().decode())
"""
    found = ""
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", counted, tmp_path], capture_output=True, text=True, check=True
        )
        found = ran.stdout
    assert 'tactical_requests_total{endpoint="/decide",status="200"} 2.0' in found.splitlines()

"""Limits of the service and targets of its health report."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rllib_tactical.config.service import (
    AccuracyTargets,
    LatencyTargets,
    PerformanceConfig,
    ServiceConfig,
)
from rllib_tactical.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lease_s": 0.0}, "service.lease_s must be"),
        ({"poll_s": float("nan")}, "service.poll_s must be"),
        ({"max_bar_age_s": -5.0}, "service.max_bar_age_s must be"),
    ],
)
def test_a_limit_out_of_range_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ServiceConfig(**change)


def test_a_replica_asks_again_before_its_lease_is_over() -> None:
    with pytest.raises(ConfigError, match=r"service\.poll_s"):
        ServiceConfig(lease_s=1.0, poll_s=1.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_accuracy_is_a_share(share: float) -> None:
    for name in (field.name for field in dataclasses.fields(AccuracyTargets)):
        with pytest.raises(ConfigError, match=f"accuracy_targets.{name}"):
            dataclasses.replace(AccuracyTargets(), **{name: share})


def test_latency_targets_stand_in_the_order_of_the_stages() -> None:
    targets = PerformanceConfig().latency_targets
    assert len(targets.by_stage_ms) == 4
    assert targets.by_stage_ms[-1] == targets.total_pipeline_ms
    assert LatencyTargets(total_pipeline_ms=7.0).by_stage_ms[-1] == 7.0

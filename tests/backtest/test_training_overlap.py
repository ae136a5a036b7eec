from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.training_overlap import Seen, seen_in_training
from rllib_tactical.bundle.bundle import Bundle


def seen_with(bundle: Bundle, comparison: Comparison, training: dict[str, Any]) -> Seen:
    other = dataclasses.replace(bundle, manifest=bundle.manifest | {"training": training})
    return seen_in_training(other, "abc", comparison.policy.result)


def splits_of(comparison: Comparison) -> dict[str, Any]:
    """Return splits that put 300 bars into training, 200 into validation and 900 into the test."""
    times = comparison.policy.result.equity["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "train": {"first": "2020-01-01T00:00:00Z", "last": times[299]},
        "validation": {"first": times[400], "last": times[599]},
        "test": {"first": times[600], "last": times[1_499]},
    }


def test_parts_of_the_training_file(bundle: Bundle, comparison: Comparison) -> None:
    data = {"sha256": "abc", "splits": splits_of(comparison)}
    seen = seen_with(bundle, comparison, {"data": data})
    assert seen.same_file is True
    assert seen.warning
    assert "500 of 1,500 bars (33%) were used for training or validation" in seen.note
    assert {part.name: part.bars for part in seen.parts} == {
        "train": 300,
        "validation": 200,
        "test": 900,
        "other": 100,
    }
    result = comparison.policy.result
    assert sum(part.net_pnl for part in seen.parts) == pytest.approx(result.net_pnl)
    assert sum(part.trades for part in seen.parts) == len(result.trades)


def test_another_file_over_the_same_time_is_a_warning_too(
    bundle: Bundle, comparison: Comparison
) -> None:
    data = {"sha256": "other", "splits": splits_of(comparison)}
    seen = seen_with(bundle, comparison, {"data": data})
    assert seen.same_file is False
    assert seen.warning
    assert "came from another file" in seen.note


def test_unseen_bars(bundle: Bundle, comparison: Comparison) -> None:
    span = {"first": "2019-01-01T00:00:00", "last": "2019-06-30T00:00:00"}
    seen = seen_with(bundle, comparison, {"data_sha256": "abc", "splits": {"train": span}})
    assert not seen.warning
    assert [part.name for part in seen.parts] == ["other"]
    assert seen.note == "None of these bars was used for training or validation."


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"data": {"sha256": "abc"}},
        {"data": {"splits": {"train": {"first": "2019-01-01", "last": "2019-06-30"}}}},
        {"data": {"sha256": "abc", "splits": {"train": {"first": None, "last": "soon"}}}},
        {"data": {"sha256": "abc", "splits": {"train": [1, 2]}}},
    ],
)
def test_a_silent_bundle_is_a_warning(
    bundle: Bundle, comparison: Comparison, training: dict[str, Any]
) -> None:
    seen = seen_with(bundle, comparison, training)
    assert seen.same_file is None
    assert seen.warning
    assert seen.parts == ()

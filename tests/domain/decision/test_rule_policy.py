from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import FeatureError
from tests.domain.builders import walks

LONG, HOLD, SHORT = 0, 1, 2
WAIT, EXECUTE = 0, 1


def vote(close: float = 100.0, **columns: float) -> tuple[list[int], list[float]]:
    names = ("bullish", "bearish", "level", "age", "touched", "momentum", "ratio")
    row = np.array([[columns.get(name, 0.0) for name in names]])
    votes = rule_votes(row, np.array([close]))
    return votes.index[0].tolist(), votes.confidence[0].tolist()


def test_nothing_happens() -> None:
    assert vote() == ([HOLD, HOLD, WAIT], [0.6, 0.6, 0.6])


@pytest.mark.parametrize(
    ("bullish", "bearish", "level", "expected"),
    [
        (1, 0, 99.0, LONG),
        (1, 0, 101.0, LONG),  # inside the zone: the only kind decides
        (0, 1, 101.0, SHORT),
        (0, 1, 99.0, SHORT),
        (1, 1, 99.0, LONG),
        (1, 1, 101.0, SHORT),
        (1, 1, 100.0, HOLD),
    ],
)
def test_a_touched_gap(bullish: int, bearish: int, level: float, expected: int) -> None:
    index, confidence = vote(bullish=bullish, bearish=bearish, level=level, touched=1)
    assert index[0] == expected
    assert confidence[0] == (0.6 if expected == HOLD else 0.8)
    assert vote(bullish=bullish, bearish=bearish, level=level)[0][0] == HOLD  # not touched now


def test_momentum_and_volume() -> None:
    assert vote(momentum=0.1, ratio=1.6) == ([HOLD, LONG, EXECUTE], [0.6, 0.7, 0.8])
    assert vote(momentum=-0.1, ratio=1.5) == ([HOLD, SHORT, WAIT], [0.6, 0.7, 0.6])


@given(walks())
def test_mirrored_features_mirror_the_votes(bars: Bars) -> None:
    table = compute_features(bars)
    mirrored = table.raw[:, [1, 0, 2, 3, 4, 5, 6]]
    mirrored[:, 5] *= -1
    mirrored[:, 2] = np.where(mirrored[:, 2] != 0, 8192.0 - mirrored[:, 2], 0.0)
    straight = rule_votes(table.raw, table.close)
    other = rule_votes(mirrored, 8192.0 - table.close)
    np.testing.assert_array_equal(other.index[:, :2], 2 - straight.index[:, :2])
    np.testing.assert_array_equal(other.index[:, 2], straight.index[:, 2])
    np.testing.assert_array_equal(other.confidence, straight.confidence)


@pytest.mark.parametrize(
    ("raw_shape", "close_shape"), [((7,), ()), ((2, 6), (2,)), ((2, 7), (3,)), ((2, 7), (2, 1))]
)
def test_wrong_shapes(raw_shape: tuple[int, ...], close_shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match=r"(raw|close) must be a float64 array of shape"):
        rule_votes(np.zeros(raw_shape), np.ones(close_shape))


def test_values_that_are_not_finite() -> None:
    with pytest.raises(FeatureError, match="finite"):
        vote(momentum=float("nan"))
    with pytest.raises(FeatureError, match="finite"):
        vote(close=float("inf"))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.decision.missing_bars import NO_GAP, bars_since_gap, holds_after_gap
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.errors import ArrayError, ConfigError
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_bars_are_counted_from_the_newest_gap_by_hand() -> None:
    missing = np.array([0, 0, 3, 0, 0, 1, 2, 0])
    assert bars_since_gap(missing).tolist() == [60, 60, 0, 1, 2, 0, 0, 1]
    assert bars_since_gap(missing[:2], 7).tolist() == [8, 9]
    assert bars_since_gap(np.append([1], np.zeros(70, dtype=np.int64)))[-12:].tolist() == [
        59, *[60] * 11
    ]  # fmt: skip
    since_gap = np.array([60, 0, 4, 5, 60])
    assert holds_after_gap(since_gap, 5).tolist() == [False, True, True, False, False]
    assert not holds_after_gap(since_gap, 0).any()
    assert holds_after_gap(since_gap, 60).tolist() == [False, True, True, True, False]


@given(st.lists(st.sampled_from([0] * 9 + [1]), min_size=1, max_size=200), st.data())
def test_parts_one_after_another_count_as_the_whole(
    missing: list[int], data: st.DataObject
) -> None:
    found, before, rest = [], NO_GAP, missing
    while rest:
        part = rest[: data.draw(st.integers(1, len(rest)))]
        found += bars_since_gap(np.array(part), before).tolist()
        before, rest = found[-1], rest[len(part) :]
    assert found == bars_since_gap(np.array(missing)).tolist()


def test_wrong_arrays_are_refused() -> None:
    assert_wrong_arrays_are_refused(bars_since_gap, ArrayError, missing=np.array([0, 1]))

    def holds(since_gap: np.ndarray) -> None:
        holds_after_gap(since_gap, 5)

    assert_wrong_arrays_are_refused(holds, ArrayError, since_gap=np.array([0, 1]))


@pytest.mark.parametrize("bars", [-1, 61])
def test_a_hold_out_of_range_is_refused(bars: int) -> None:
    with pytest.raises(ConfigError, match=f"hold_bars_after_gap must be in 0..60, found {bars}"):
        RiskConfig(hold_bars_after_gap=bars)

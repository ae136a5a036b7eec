from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality import steps
from rllib_tactical.data.quality.steps import common_step_s, wrong_length


def times(*steps_s: float) -> np.ndarray:
    return np.cumsum(np.array([0.0, *steps_s]) * MICROS).astype(np.int64)


def test_the_common_step_is_the_shortest_that_is_not_rare() -> None:
    assert common_step_s(times(*[300] * 50, 600, 300)) == 300
    assert common_step_s(times(*[300] * 500, 60)) == 300  # one of 501 is a stray time
    assert common_step_s(times(*[600] * 98, 300, 300)) == 300  # a thin market
    assert common_step_s(times(*[-300] * 50)) is None
    assert common_step_s(times(*[600] * 398, 300, 300)) == 600
    assert common_step_s(times(*[600] * 98, -300, 0)) == 600
    assert common_step_s(times()) is None


def test_bars_of_the_right_length_are_not_another() -> None:
    assert wrong_length(times(*[300] * 100), 300) is None
    assert wrong_length(times(*[300] * 77, 63_300, *[300] * 77), 300) is None  # a night
    assert wrong_length(times(*[60] * 5), 300) is None  # too few to say


@pytest.mark.parametrize(("step", "text"), [(60, "1min"), (3_600, "1h"), (0.5, "0.5s")])
def test_another_length_is_named(step: float, text: str) -> None:
    found = wrong_length(times(*[step] * 100), 300)
    assert found is not None
    assert (found.step_s, found.row, found.share, found.text) == (step, 0, 1.0, text)


@pytest.mark.parametrize("block", [1, 7, steps._BLOCK])
def test_a_stretch_of_another_length_is_found_where_it_begins(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(steps, "_BLOCK", block)
    found = wrong_length(times(*[300] * 960, *[60] * 960), 300)
    assert found is not None
    assert found.step_s == 60
    assert 930 <= found.row <= 985
    assert found.share == pytest.approx(0.5, abs=0.02)


def test_distances_that_vary_are_a_thin_market() -> None:
    rng = np.random.default_rng(0)
    assert wrong_length(times(*rng.choice([300, 600, 900], 400)), 300) is None


def test_longer_distances_may_be_allowed() -> None:
    hours = times(*[3_600] * 100)
    assert wrong_length(hours, 300, up_to_s=3_600) is None
    assert wrong_length(hours, 300, up_to_s=3_599) is not None
    assert wrong_length(times(*[60] * 100), 300, up_to_s=3_600) is not None

from __future__ import annotations

import math

from rllib_tactical.study.score import (
    curve_of,
    final_score,
    percent,
    score,
    seconds_to,
    unit_of,
    with_error,
)
from tests.study.results import played, result_of, run_of


def test_statistics_by_hand() -> None:
    assert percent(-50.0, -100.0) == -50.0  # the oracle of a market without an edge loses
    # 80% of the final share of 50 is 40: the third evaluation has 45
    assert seconds_to(result_of(run_of(), 100.0)) == 30.0


def test_a_score_is_a_share_of_the_oracle_or_dollars_where_there_is_no_edge() -> None:
    assert score("gap", played(50.0), played(200.0)) == 25.0
    assert score("noise", played(-9.0), played(-50.0)) == -9.0
    assert (unit_of("gap"), unit_of("noise")) == ("% of oracle", "$ per session")
    assert math.isnan(percent(1.0, 0.0))


def test_a_result_has_a_curve_that_ends_in_its_final_score() -> None:
    """The evaluations have 20%, 75%, 90% and 100% of $100; the oracle has $200."""
    result = result_of(run_of(), 100.0)
    assert curve_of(result) == ((10.0, 10.0), (20.0, 37.5), (30.0, 45.0), (40.0, 50.0))
    assert final_score(result) == 50.0
    assert seconds_to(result, part=0.2) == 10.0
    assert math.isnan(seconds_to(result_of(run_of("noise"), 100.0)))


def test_means_are_shown_with_their_standard_errors() -> None:
    """1, 2 and 6: mean 3, deviation 2.65, over the root of three 1.53."""
    assert with_error([1.0, 2.0, 6.0]) == "3.0 ± 1.5"
    assert with_error([1.0, 2.0, 6.0], signed=True, digits=2) == "+3.00 ± 1.53"
    assert with_error([-1_234.5], digits=0) == "-1,234"  # of one value there is no error

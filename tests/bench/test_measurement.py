from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.bench.measurement import (
    Baseline,
    Measurement,
    Row,
    mean_over_seeds,
    measure_rate,
    standard_error,
    summarize,
)


def row(median: float, target: float | None, higher: bool = True, theirs: float = 50.0) -> Row:
    return Row(
        name="speed",
        unit="bars/s",
        measurement=Measurement(median, median - 1, median + 1),
        target=target,
        higher_is_better=higher,
        baselines=(
            Baseline("other", Measurement(theirs, theirs, theirs), "the same bars"),
            Baseline("absent", None, "not installed"),
        ),
    )


@pytest.mark.parametrize(
    ("median", "target", "higher", "met"),
    [
        (100.0, 100.0, True, True),
        (99.0, 100.0, True, False),
        (100.0, 100.0, False, True),
        (101.0, 100.0, False, False),
        (1.0, None, True, None),
    ],
)
def test_a_target_is_met_on_its_side(
    median: float, target: float | None, higher: bool, met: bool | None
) -> None:
    assert row(median, target, higher).met is met


def test_a_ratio_says_how_many_times_better() -> None:
    more, less = row(100.0, None), row(10.0, None, higher=False)
    assert more.ratio(more.baselines[0]) == 2.0
    assert less.ratio(less.baselines[0]) == 5.0
    assert more.ratio(more.baselines[1]) is None


def test_the_document_has_every_number_and_none_for_what_was_not_measured() -> None:
    document = row(100.0, 80.0).document()
    assert document["median"] == 100.0
    assert (document["min"], document["max"]) == (99.0, 101.0)
    assert (document["target"], document["met"], document["better"]) == (80.0, True, "higher")
    other, absent = document["baselines"]
    assert (other["median"], other["ratio"]) == (50.0, 2.0)
    assert (absent["median"], absent["ratio"], absent["note"]) == (None, None, "not installed")


def test_summary_of_values() -> None:
    assert summarize([3.0, 1.0, 2.0]) == Measurement(2.0, 1.0, 3.0)


def test_a_rate_leaves_the_first_call_out() -> None:
    calls = []

    def work() -> None:
        calls.append(sum(range(20_000)))

    measurement = measure_rate(work, units=10, repetitions=4)
    assert len(calls) == 5
    assert 0 < measurement.low <= measurement.median <= measurement.high
    assert measurement.wall is not None
    assert measurement.wall > 0


def test_a_mean_over_seeds_by_hand() -> None:
    assert standard_error([1.0, 3.0]) == 1.0
    assert np.isnan(standard_error([1.0]))
    found = mean_over_seeds([0.0, 3.0, 3.0])  # deviations -2, 1, 1: s.d. 1.73, s.e. 1
    assert (found.median, found.low, found.high) == pytest.approx((2.0, 1.0, 3.0))
    assert found.seeds == 3
    assert mean_over_seeds([5.0]) == Measurement(5.0, 5.0, 5.0, seeds=1)

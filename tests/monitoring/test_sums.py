from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.errors import ArrayError, DataError
from rllib_tactical.monitoring.observations import INPUTS, Observations
from rllib_tactical.monitoring.sums import (
    ABSOLUTE,
    BEHAVIOR,
    BINS,
    CONFIDENCE,
    DECISIONS,
    ENDED,
    FILLED,
    INPUT,
    OUTCOME,
    PNL,
    RIGHT,
    SCORE,
    SCORED,
    SLIPPAGE,
    TRADES,
    VOTED,
    VOTES,
    WON,
    bin_edges,
    input_slices,
    sums_of,
)
from tests.monitoring.series import BARS, autocorrelated


def small() -> Observations:
    """Return two sessions: three bars and decisions, three trades of which one lies outside."""
    return Observations(
        bar_session=np.array([7, 7, 9]),
        inputs=np.arange(3.0)[:, None] + np.zeros(len(INPUTS)),
        decision_session=np.array([7, 7, 9]),
        confidence=np.array([0.5, 0.7, 0.9]),
        votes=np.array([[1, 0, -1], [1, 1, -1], [-1, 0, 1]]),
        trade_session=np.array([7, 9, 9, 8]),
        pnl=np.array([50.0, -20.0, 5.0, 1.0]),
        score=np.array([0.6, 0.8, np.nan, 0.5]),
        right=np.array([1.0, 0.0, np.nan, 1.0]),
        slippage=np.array([1e-4, np.nan, 3e-4, 0.0]),
    )


def test_sums_by_session_of_a_small_example() -> None:
    found = small()
    edges = tuple(np.array([1.0]) for _ in INPUTS)  # an edge belongs to the bin below it
    sums = sums_of(found, edges)
    assert sums[INPUT].session.tolist() == [7, 9]
    assert sums[INPUT].rows[:, input_slices(edges)["atr_to_close"]].tolist() == [[2, 0], [0, 1]]
    behavior = sums[BEHAVIOR].rows
    assert behavior[:, DECISIONS].tolist() == [2, 1]
    np.testing.assert_allclose(behavior[:, CONFIDENCE], [1.2, 0.9])
    assert behavior[:, TRADES].tolist() == [1, 2]  # a trade of a session without decisions is none
    assert behavior[0, VOTES:].tolist() == [0, 0, 2, 0, 1, 1, 2, 0, 0]
    outcomes = sums[OUTCOME].rows
    assert outcomes[:, PNL].tolist() == [50.0, -15.0]
    assert outcomes[:, ABSOLUTE].tolist() == [50.0, 25.0]
    assert outcomes[:, ENDED].tolist() == [1, 2]
    assert outcomes[:, SCORED].tolist() == [1, 1]
    assert outcomes[:, SCORE].tolist() == [0.6, 0.8]
    assert outcomes[:, WON].tolist() == [1, 0]  # of those whose score is known
    assert outcomes[:, [RIGHT, VOTED]].tolist() == [[1, 1], [0, 1]]
    np.testing.assert_allclose(outcomes[:, SLIPPAGE], [1e-4, 3e-4])
    assert outcomes[:, FILLED].tolist() == [1, 1]


def test_bins_hold_equal_shares_and_two_values_need_two_bins() -> None:
    found = autocorrelated(np.random.default_rng(1), 50)
    edges = bin_edges(found.inputs)
    assert len(edges[0]) == 1  # an input of 0 and 1
    rows = sums_of(found, edges)[INPUT].rows
    counts = rows.sum(axis=0)[input_slices(edges)["price_momentum_5"]]
    assert len(counts) == BINS
    np.testing.assert_allclose(counts, 50 * BARS / BINS, atol=1.0)
    assert (rows.sum(axis=1) == BARS * len(INPUTS)).all()


def test_sessions_after_one() -> None:
    sums = sums_of(small(), tuple(np.array([0.5]) for _ in INPUTS))
    assert sums[OUTCOME].after(7).session.tolist() == [9]
    assert sums[OUTCOME].after(7).rows[:, PNL].tolist() == [-15.0]


def test_no_bins_without_bars() -> None:
    with pytest.raises(DataError, match="bins need bars, found none"):
        bin_edges(np.empty((0, len(INPUTS))))


@pytest.mark.parametrize("field", ["inputs", "votes", "pnl", "slippage"])
def test_observations_refuse_arrays_that_do_not_fit(field: str) -> None:
    found = small()
    with pytest.raises(ArrayError, match=field):
        dataclasses.replace(found, **{field: getattr(found, field)[:1]})

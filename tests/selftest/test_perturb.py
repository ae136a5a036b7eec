from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.selftest.perturb import (
    history_of,
    mirrored_history,
    other_future,
    permuted_history,
)
from tests.market import INSTRUMENT, random_bars

COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return history_of(random_bars(1_500, seed=4), INSTRUMENT, 300)


def check_bars(history: MarketHistory) -> None:
    bars = history.bars
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.low > 0).all()
    np.testing.assert_allclose(bars.close / 0.01, np.rint(bars.close / 0.01), atol=1e-6)


def test_another_future_keeps_the_past(history: MarketHistory) -> None:
    bars = other_future(history.bars, 700, 0.01, np.random.default_rng(0))
    check_bars(history_of(bars, INSTRUMENT, 300))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(bars, name)[:701], getattr(history.bars, name)[:701])
    assert (bars.close[702:] != history.bars.close[702:]).mean() > 0.95


def test_a_mirror_twice_is_the_market_itself(history: MarketHistory) -> None:
    once = mirrored_history(history)
    check_bars(once)
    np.testing.assert_array_equal(once.synergy.direction, -history.synergy.direction)
    for name in COLUMNS:
        again = getattr(mirrored_history(once).bars, name)
        np.testing.assert_allclose(again, getattr(history.bars, name), atol=1e-9)


def test_mirrored_inputs_are_those_of_mirrored_bars_where_that_is_exact(
    history: MarketHistory,
) -> None:
    t = np.arange(400, 1_400, 7)
    turned = mirrored_inputs(history.inputs.gather(t))
    found = mirrored_history(history).inputs.gather(t)
    for column in (0, 1, 3, 4, 6):
        np.testing.assert_allclose(turned[..., column], found[..., column], atol=1e-6)
    same = np.isclose(turned[..., 2], found[..., 2], atol=1e-5)
    assert same.mean() > 0.97  # of two edges equally near, rounding may choose the other
    # percent momentum is relative to the price, which a mirror changes
    assert (np.sign(turned[..., 5]) == np.sign(found[..., 5])).all()


def test_permuted_bars_are_the_same_bars_in_another_order(history: MarketHistory) -> None:
    permuted = permuted_history(history, 300, np.random.default_rng(1))
    check_bars(permuted)
    ours, theirs = permuted.bars, history.bars
    assert ours.open[0] == theirs.open[0]
    assert ours.close[-1] == pytest.approx(theirs.close[-1], rel=1e-3)
    np.testing.assert_array_equal(np.sort(ours.volume), np.sort(theirs.volume))
    found, given = (np.sort(np.log(bars.close / bars.open)) for bars in (ours, theirs))
    np.testing.assert_allclose(found, given, atol=3e-4)
    assert (ours.volume != theirs.volume).mean() > 0.9

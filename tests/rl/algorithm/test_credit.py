"""Credit: by hand, and against the decisions that the simulator's pipeline makes."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.pipeline import MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.errors import ArrayError
from rllib_tactical.rl.algorithm.credit import (
    aggressive_size,
    counterfactual_advantages,
    decisive_votes,
)
from tests.wrong_arrays import assert_wrong_arrays_are_refused

LONG, HOLD, SHORT = 0, 1, 2
WAIT, EXECUTE, AGGRESSIVE = 0, 1, 2


def decisive(votes, side=0.0, confidence=1.0, refused=False, kind=0, direction=0, **rules):
    """Return which of fvg, momentum and entry decided something, for one account."""
    found = decisive_votes(
        np.array([[votes]]),
        np.array([[side]], dtype=float),
        np.array([[refused]]),
        np.array([kind]),
        np.array([direction]),
        confidence,
        Rules(aggregation=AggregationConfig(**rules)),
    )
    return found[0, 0].tolist()


@pytest.mark.parametrize(
    ("votes", "side", "confidence", "expected"),
    [
        # nobody trades while the entry agent waits; alone it decides, if the others agree
        ((LONG, LONG, WAIT), 0, 1.0, [False, False, True]),
        ((LONG, SHORT, WAIT), 0, 1.0, [False, False, False]),
        # with full confidence two of three are enough: a hold turned into the opposite stops it
        ((LONG, LONG, EXECUTE), 0, 1.0, [True, True, True]),
        ((LONG, SHORT, EXECUTE), 0, 1.0, [True, True, False]),
        # at 0.9 all three must agree, so one that holds leaves nothing to decide for the entry
        ((LONG, HOLD, EXECUTE), 0, 0.9, [False, True, False]),
        ((HOLD, HOLD, EXECUTE), 0, 0.9, [False, False, False]),
        # a long position: only a short order, which closes it, does anything
        ((LONG, LONG, EXECUTE), 1, 0.9, [False, False, False]),
        ((SHORT, SHORT, EXECUTE), 1, 0.9, [True, True, True]),
        ((SHORT, SHORT, AGGRESSIVE), -1, 0.9, [False, False, False]),
    ],
)
def test_by_hand(votes, side, confidence, expected):
    assert decisive(votes, side, confidence) == expected


def test_size_is_part_of_an_order_but_not_of_a_close():
    """Without the veto's wait, execute and aggressive differ only in size."""
    rules = {"entry_veto": True}
    assert decisive((LONG, LONG, AGGRESSIVE), 0, 0.9, **rules)[2]
    assert not decisive((LONG, HOLD, WAIT), 1, 0.9, **rules)[2]


def test_nothing_is_decided_where_every_order_is_refused():
    assert decisive((LONG, LONG, EXECUTE), refused=True) == [False] * 3


def orders_of(votes, kind, direction, side, confidence):
    """Return signed lots of what the pipeline decides for votes (N, 3); one lot is 1e-9 of base."""
    instrument = dataclasses.replace(load_instrument("SYNTH"), lot_step=1e-6, base_quantity=1e3)
    count = len(votes)
    decision = decide(
        constant_votes(votes, confidence),
        MarketSnapshot(np.full(count, 100.0), np.full(count, 0.25), kind, direction),
        AccountView(
            equity=np.full(count, 1e5),
            session_peak=np.full(count, 1e5),
            position_side=side,
            position_quantity=np.abs(side) * 100.0,
            halted=np.zeros(count, bool),
            tradable=np.ones(count, bool),
        ),
        instrument,
        Rules(),
    )
    return decision.action * decision.quantity


def test_agrees_with_the_decisions_of_the_pipeline():
    """Every set of votes, synergy and position: another vote changes the order, or it does not."""
    cases = np.indices((3, 3, 3, 5, 3, 3)).reshape(6, -1)
    votes, kind, direction, side = cases[:3].T, cases[3], cases[4] - 1, cases[5] - 1
    count, rules = len(kind), Rules()
    found = decisive_votes(
        votes[:, None],
        side[:, None].astype(float),
        np.zeros((count, 1), bool),
        kind,
        direction,
        0.9,
        rules,
    )[:, 0]
    for agent in range(3):
        made = []
        for vote in range(3):
            other = votes.copy()
            other[:, agent] = vote
            made.append(orders_of(other, kind, direction, side, 0.9))
        np.testing.assert_array_equal(found[:, agent], np.ptp(np.stack(made), axis=0) > 0)
    assert 0.05 < found.mean() < 0.5


CASES: dict[str, np.ndarray] = {
    "actions": np.zeros((4, 2, 3), dtype=np.int8),
    "position_side": np.zeros((4, 2), dtype=np.float32),
    "refused": np.zeros((4, 2), dtype=bool),
    "synergy_kind": np.zeros(4, dtype=np.int64),
    "synergy_direction": np.zeros(4, dtype=np.int64),
}


def test_wrong_arrays_are_refused():
    assert_wrong_arrays_are_refused(partial(decisive_votes, confidence=0.9, rules=Rules()), **CASES)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("actions", -1, r"-1\.\.-1, 0\.\.0, 0\.\.0"),
        ("actions", 3, r"3\.\.3, 0\.\.0, 0\.\.0"),
        ("synergy_kind", -1, r"0\.\.0, -1\.\.-1, 0\.\.0"),
        ("synergy_direction", 2, r"0\.\.0, 0\.\.0, 2\.\.2"),
    ],
)
def test_values_out_of_range_are_refused(name, value, found):
    """An index of -1 would count as the last action."""
    wrong = CASES | {name: np.full_like(CASES[name], value)}
    with pytest.raises(ArrayError, match=rf"votes must be 0\.\.2, .* found {found}"):
        decisive_votes(**wrong, confidence=0.9, rules=Rules())


@pytest.mark.parametrize("confidence", [0.9, 1.0])
def test_exact_advantages_are_means_over_all_votes_of_the_others(confidence):
    """Every synergy; the value of 27 sets of votes from the orders that the pipeline makes."""
    rng = np.random.default_rng(3)
    kind, direction = (each.ravel() for each in np.indices((5, 3)))
    direction, count = direction - 1, 15
    probabilities = rng.dirichlet((1.0, 1.0, 1.0), (count, 3))
    traded, flat = rng.normal(size=(count, 2, 3)), rng.normal(size=(count, 3))
    found = counterfactual_advantages(
        traded, flat, probabilities, kind, direction, confidence, Rules()
    )
    zero = np.zeros(count, dtype=np.int64)

    def order(votes):
        return orders_of(np.tile(votes, (count, 1)), kind, direction, zero, confidence)

    whole = np.stack([order([0, 0, EXECUTE]), order([2, 2, EXECUTE])])
    expected, chance = np.zeros((count, 3, 3)), np.zeros((count, 3, 3))
    for votes in np.ndindex(3, 3, 3):
        made = order(list(votes))
        side = (made < 0).astype(int)
        size = np.divide(made, whole[side, np.arange(count)], out=np.zeros(count), where=made != 0)
        value = flat + size[:, None] * (traded[np.arange(count), side] - flat)
        by_agent = probabilities[:, np.arange(3), list(votes)]
        for agent, vote in enumerate(votes):
            weight = np.delete(by_agent, agent, axis=1).prod(axis=1)
            expected[:, agent, vote] += weight * value[:, agent]
            chance[:, agent, vote] += weight
    np.testing.assert_allclose(chance, 1.0)
    expected -= (expected * probabilities).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose((found * probabilities).sum(axis=-1), 0.0, atol=1e-12)


def test_exact_advantages_by_hand():
    """The others vote long and execute for certain: fvg's hold trades .67 of a score of 1."""
    sure = np.array([[[1 / 3] * 3, [1, 0, 0], [0, 1, 0]]])
    found = counterfactual_advantages(
        np.array([[[3.0] * 3, [-1.0] * 3]]),
        np.array([[1.0] * 3]),
        sure,
        np.array([0]),
        np.array([0]),
        1.0,
        Rules(),
    )
    # long: 2 more than nothing; hold: .67 / .8 of the size; short: a tie, so nothing
    gained = np.array([2.0, 2.0 * 0.8375, 0.0])
    np.testing.assert_allclose(found[0, 0], gained - gained.mean())


ADVANTAGE_CASES: dict[str, np.ndarray] = {
    "traded": np.zeros((4, 2, 3)),
    "flat": np.zeros((4, 3)),
    "probabilities": np.full((4, 3, 3), 1 / 3),
    "synergy_kind": np.zeros(4, dtype=np.int64),
    "synergy_direction": np.zeros(4, dtype=np.int64),
}


def test_wrong_arrays_of_advantages_are_refused():
    function = partial(counterfactual_advantages, confidence=0.9, rules=Rules())
    assert_wrong_arrays_are_refused(function, **ADVANTAGE_CASES)


@pytest.mark.parametrize(("confidence", "size"), [(1.0, 1.25), (0.9, 1.125), (0.1, 1.0)])
def test_the_size_of_an_aggressive_order(confidence, size):
    assert aggressive_size(confidence, Rules()) == pytest.approx(size)

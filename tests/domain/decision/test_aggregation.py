from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.decision.aggregation import (
    Aggregate,
    AggregationConfig,
    SynergyTypeWeights,
    aggregate,
    aggregate_constant,
)
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.types import SYNERGY_TYPES, UNKNOWN_SYNERGY, AnyArray, Reason
from rllib_tactical.errors import ArrayError, ConfigError
from tests.domain.builders import seeds
from tests.domain.reference_simulator import reference_vote
from tests.wrong_arrays import assert_wrong_arrays_are_refused

RULES = AggregationConfig()
WAIT, EXECUTE, AGGRESSIVE = 0, 1, 2
ALL_VOTES = np.array(list(itertools.product(range(3), repeat=3)))


def one(
    index: tuple[int, int, int],
    confidence: Sequence[float],
    kind: int = 0,
    direction: int = 0,
    config: AggregationConfig = RULES,
) -> Aggregate:
    votes = Votes(np.array([index]), np.array([confidence]))
    return votes.aggregate(np.array([kind]), np.array([direction]), config)


def random_votes(seed: int, count: int = 400) -> tuple[Votes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 3, (count, 3))
    confidence = rng.uniform(1 / 3, 1.0, (count, 3))
    confidence[rng.random(count) < 0.3] = 0.9  # the constant of training: scores tie
    kind = rng.integers(0, 5, count)
    direction = np.where(kind > 0, rng.choice([1, -1], count), 0)
    return Votes(index, confidence), kind, direction


def test_three_agents_agree() -> None:
    # .33 x .9 + .33 x .8 + .34 x .7 = .297 + .264 + .238 = .799
    out = one((0, 0, EXECUTE), (0.9, 0.8, 0.7))
    assert out.side.tolist() == [1]
    np.testing.assert_allclose(out.scores, [[0.799, 0.0, 0.0]], rtol=1e-12)
    np.testing.assert_allclose(out.score, [0.799], rtol=1e-12)
    assert (out.execute[0], out.aggressive[0], out.reason[0]) == (True, False, Reason.EXECUTE)


def test_entry_adds_to_the_leading_side() -> None:
    # TYPE_1: fvg long .5 x .6 = .30, momentum down .3 x .9 = .27: long leads and gets .2 x .5
    out = one((0, 2, AGGRESSIVE), (0.6, 0.9, 0.5), kind=1, direction=1)
    np.testing.assert_allclose(out.scores, [[0.40, 0.27, 0.0]], rtol=1e-12)
    assert out.aggressive[0]
    assert out.reason[0] == Reason.BELOW_THRESHOLD


def test_entry_that_waits_adds_to_hold() -> None:
    out = one((2, 2, WAIT), (1.0, 1.0, 0.5))
    np.testing.assert_allclose(out.scores, [[0.0, 0.66, 0.17]], rtol=1e-12)
    assert out.side[0] == -1
    assert out.reason[0] == Reason.ENTRY_WAIT
    assert not out.execute[0]


def test_entry_adds_to_hold_when_neither_side_leads() -> None:
    # TYPE_2 weights are equal, so equal confidences leave no leading side
    out = one((0, 2, EXECUTE), (0.8, 0.8, 1.0), kind=2, direction=1)
    np.testing.assert_allclose(out.scores, [[0.32, 0.32, 0.2]], rtol=1e-12)
    assert out.side[0] == 0
    assert out.reason[0] == Reason.NO_DIRECTION


def test_hold_votes_count_for_hold() -> None:
    out = one((1, 1, EXECUTE), (0.5, 0.6, 0.7))
    np.testing.assert_allclose(out.scores, [[0.0, 0.0, 0.165 + 0.198 + 0.238]], rtol=1e-12)
    assert out.side[0] == 0
    np.testing.assert_allclose(out.score, out.scores[:, 2])


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        (0, (0.33, 0.33, 0.34)),
        (1, (0.5, 0.3, 0.2)),
        (2, (0.4, 0.4, 0.2)),
        (3, (0.3, 0.5, 0.2)),
        (4, (0.35, 0.35, 0.3)),
        (UNKNOWN_SYNERGY, (0.33, 0.33, 0.34)),
    ],
)
def test_weights_by_synergy_type(kind: int, weights: tuple[float, float, float]) -> None:
    # fvg long, momentum down, entry waits: each weight shows up in a score of its own
    out = one((0, 2, WAIT), (1.0, 1.0, 1.0), kind=kind)
    np.testing.assert_allclose(out.scores, [weights], rtol=1e-12)


def test_a_synergy_of_an_unknown_type_has_a_direction() -> None:
    for direction, factor in ((1, 1.0), (-1, 0.7)):
        out = one((0, 0, EXECUTE), (1.0, 1.0, 1.0), kind=UNKNOWN_SYNERGY, direction=direction)
        assert out.score[0] == pytest.approx(factor)


def test_threshold_has_a_tolerance() -> None:
    # TYPE_4: .35 + .3 is 0.6499999999999999 in floating point and must count as .65
    assert 0.35 * 1.0 + 0.3 * 1.0 < 0.65 + 1e-16
    out = one((0, 1, EXECUTE), (1.0, 1.0, 1.0), kind=4, direction=1)
    assert out.execute[0]
    assert one((0, 1, EXECUTE), (1.0, 1.0, 1.0 - 1e-8), kind=4, direction=1).reason[0] == (
        Reason.BELOW_THRESHOLD
    )


@pytest.mark.parametrize("confidence", [0.9, 0.7, 1.0, 1 / 3])
@pytest.mark.parametrize("kind", range(6))
def test_equal_scores_hold_whatever_the_rounding(kind: int, confidence: float) -> None:
    """TYPE_1 at .9: momentum .3 and entry .2 sum to a bit more than fvg's .5 in floating point."""
    config = AggregationConfig(execution_threshold=0.1)
    votes = constant_votes(ALL_VOTES, confidence)
    count = len(ALL_VOTES)
    out = votes.aggregate(np.full(count, kind), np.zeros(count, dtype=np.int64), config)
    best = out.scores.max(axis=1, keepdims=True)
    tied = (np.abs(out.scores - best) < 1e-9).sum(axis=1) > 1
    assert (out.side[tied] == 0).all()
    assert (out.reason[tied] == Reason.NO_DIRECTION).all()


def test_two_of_three_agents_must_be_on_the_winner() -> None:
    # alone, fvg would pass a threshold of .4 with TYPE_1
    config = AggregationConfig(execution_threshold=0.4, entry_veto=False)
    alone = one((0, 1, WAIT), (1.0, 0.5, 0.5), kind=1, direction=1, config=config)
    assert alone.side[0] == 1
    assert alone.reason[0] == Reason.NO_AGREEMENT
    lenient = AggregationConfig(execution_threshold=0.4, entry_veto=False, min_agents=1)
    assert one((0, 1, WAIT), (1.0, 0.5, 0.5), 1, 1, lenient).execute[0]
    strict = AggregationConfig(execution_threshold=0.4, min_agents=3)
    assert one((0, 1, EXECUTE), (1.0, 0.5, 0.5), 1, 1, strict).reason[0] == Reason.NO_AGREEMENT
    assert one((0, 0, EXECUTE), (1.0, 0.5, 0.5), 1, 1, strict).execute[0]


def test_entry_veto_can_be_switched_off() -> None:
    votes = ((0, 0, WAIT), (1.0, 1.0, 1.0))
    assert one(*votes).reason[0] == Reason.ENTRY_WAIT
    assert one(*votes, config=AggregationConfig(entry_veto=False)).execute[0]


def test_counter_synergy_discounts_the_score() -> None:
    votes = ((0, 0, EXECUTE), (0.9, 0.9, 0.9))
    against = one(*votes, kind=2, direction=-1)
    np.testing.assert_allclose(against.score, [0.9 * 0.7], rtol=1e-12)
    np.testing.assert_allclose(against.scores, [[0.9, 0.0, 0.0]], rtol=1e-12)
    assert against.reason[0] == Reason.COUNTER_SYNERGY
    assert not against.execute[0]
    with_it = one(*votes, kind=2, direction=1)
    np.testing.assert_allclose(with_it.score, [0.9], rtol=1e-12)
    assert with_it.execute[0]
    sure = one((0, 0, EXECUTE), (1.0, 1.0, 1.0), kind=2, direction=-1)
    np.testing.assert_allclose(sure.score, [0.7], rtol=1e-12)
    assert sure.execute[0]  # .7 still passes .65


def test_no_synergy_no_discount() -> None:
    out = one((0, 0, EXECUTE), (0.9, 0.9, 0.9), kind=0, direction=-1)
    np.testing.assert_allclose(out.score, [0.9], rtol=1e-12)


def test_training_confidence_needs_all_three_without_a_synergy() -> None:
    """The specification: at .9, two of three are not enough without a synergy."""
    count = len(ALL_VOTES)
    zero = np.zeros(count, dtype=np.int64)
    out = constant_votes(ALL_VOTES, 0.9).aggregate(zero, zero, RULES)
    agreeing = {tuple(ALL_VOTES[i]) for i in np.flatnonzero(out.execute)}
    assert agreeing == {(0, 0, 1), (0, 0, 2), (2, 2, 1), (2, 2, 2)}


@given(seeds, st.booleans(), st.sampled_from([1, 2, 3]), st.sampled_from([0.3, 0.5, 0.65]))
def test_agrees_with_the_scalar_reference(
    seed: int, veto: bool, agents: int, threshold: float
) -> None:
    config = AggregationConfig(entry_veto=veto, min_agents=agents, execution_threshold=threshold)
    votes, kind, direction = random_votes(seed, 60)
    out = votes.aggregate(kind, direction, config)
    for i in range(60):
        expected = reference_vote(
            list(zip(votes.index[i].tolist(), votes.confidence[i].tolist(), strict=True)),
            int(kind[i]),
            int(direction[i]),
            threshold=threshold,
            veto=veto,
            min_agents=agents,
        )
        assert out.side[i] == expected.side
        assert Reason(out.reason[i]).code == expected.reason
        assert bool(out.aggressive[i]) is expected.aggressive
        np.testing.assert_allclose(out.score[i], expected.score, rtol=1e-12)
        np.testing.assert_allclose(out.scores[i], expected.scores, atol=1e-12)


@given(seeds)
def test_one_row_alone_is_the_row_among_others_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, kind, direction = random_votes(seed)
    kind[rng.random(len(kind)) < 0.1] = UNKNOWN_SYNERGY
    votes.confidence[rng.random(votes.confidence.shape) < 0.02] = np.nan
    rules = AggregationConfig(
        min_agents=int(rng.integers(1, 4)),
        entry_veto=bool(rng.integers(2)),
        execution_threshold=float(rng.choice([0.45, 0.594, 0.65])),
    )
    together = votes.aggregate(kind, direction, rules)
    for i in range(len(kind)):
        row = slice(i, i + 1)
        alone = votes.take(row).aggregate(kind[row], direction[row], rules)
        for field in ("side", "score", "scores", "execute", "aggressive", "reason"):
            found, among = getattr(alone, field), getattr(together, field)[row]
            assert found.dtype == among.dtype and found.shape == among.shape
            assert found.tobytes() == among.tobytes(), (field, i)


@given(seeds, st.booleans(), st.sampled_from([0.4, 0.9, 1.0]))
def test_votes_that_count_the_same_are_looked_up_bit_for_bit(
    seed: int, veto: bool, confidence: float
) -> None:
    config = AggregationConfig(entry_veto=veto)
    votes, kind, direction = random_votes(seed)
    looked_up = constant_votes(votes.index, confidence).aggregate(kind, direction, config)
    same = Votes(votes.index, np.full(votes.index.shape, confidence))
    worked_out = same.aggregate(kind, direction, config)
    for name in Aggregate.__slots__:
        one_way, other = getattr(looked_up, name), getattr(worked_out, name)
        assert one_way.dtype == other.dtype
        np.testing.assert_array_equal(one_way, other)


@pytest.mark.parametrize("agent", [0, 1, 2])
@pytest.mark.parametrize("vote", [-1, 3])
@pytest.mark.parametrize("constant", [True, False])
def test_unknown_vote_is_refused(agent: int, vote: int, constant: bool) -> None:
    index = np.ones((1, 3), dtype=np.int64)
    index[0, agent] = vote
    votes = constant_votes(index, 0.9) if constant else Votes(index, np.full((1, 3), 0.9))
    zero = np.zeros(1, dtype=np.int64)
    with pytest.raises(ArrayError, match=r"votes must be 0\.\.2, .* found "):
        votes.aggregate(zero, zero, RULES)


@pytest.mark.parametrize(("kind", "direction"), [(-1, 0), (6, 0), (1, 2), (1, -2)])
@pytest.mark.parametrize("constant", [True, False])
def test_unknown_synergy_is_refused(kind: int, direction: int, constant: bool) -> None:
    index = np.ones((1, 3), dtype=np.int64)
    votes = constant_votes(index, 0.9) if constant else Votes(index, np.full((1, 3), 0.9))
    with pytest.raises(ArrayError, match=rf"found 1\.\.1, {kind}\.\.{kind} and {direction}\."):
        votes.aggregate(np.array([kind]), np.array([direction]), RULES)


def test_wrong_arrays_are_refused() -> None:
    arrays: dict[str, AnyArray] = {
        "index": np.ones((4, 3), dtype=np.int64),
        "synergy_kind": np.zeros(4, dtype=np.int8),
        "synergy_direction": np.zeros(4, dtype=np.int8),
    }
    confidence = np.full((4, 3), 0.9)
    assert_wrong_arrays_are_refused(
        partial(aggregate, config=RULES), confidence=confidence, **arrays
    )
    assert_wrong_arrays_are_refused(
        partial(aggregate_constant, confidence=0.9, config=RULES), **arrays
    )


@given(seeds)
def test_permuting_the_accounts_permutes_the_outcome(seed: int) -> None:
    votes, kind, direction = random_votes(seed)
    order = np.random.default_rng(seed).permutation(len(kind))
    shuffled = Votes(votes.index[order], votes.confidence[order])
    one_way = votes.aggregate(kind, direction, RULES)
    other = shuffled.aggregate(kind[order], direction[order], RULES)
    for name in Aggregate.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(other, name), getattr(one_way, name)[order])


@given(seeds)
def test_execution_implies_every_condition(seed: int) -> None:
    votes, kind, direction = random_votes(seed)
    out = votes.aggregate(kind, direction, RULES)
    assert (out.scores >= 0).all()
    assert (out.scores.sum(axis=1) <= 1 + 1e-12).all()
    assert (out.execute == (out.reason == Reason.EXECUTE)).all()
    go = out.execute
    assert go.any()
    assert (out.side[go] != 0).all()
    assert (out.score[go] >= 0.65 - 1e-9).all()
    assert (votes.index[go, 2] != WAIT).all()
    on_side = (votes.signed[:, :2] == out.side[:, None]).sum(axis=1) + 1  # entry executes
    assert (on_side[go] >= 2).all()
    winner = np.where(out.side > 0, out.scores[:, 0], out.scores[:, 1])
    assert (winner[go] > out.scores[go, 2]).all()


@given(seeds)
def test_mirrored_votes_mirror_the_outcome(seed: int) -> None:
    votes, kind, direction = random_votes(seed)
    mirrored = votes.index.copy()
    mirrored[:, :2] = 2 - mirrored[:, :2]
    straight = votes.aggregate(kind, direction, RULES)
    other = Votes(mirrored, votes.confidence).aggregate(kind, -direction, RULES)
    np.testing.assert_array_equal(other.side, -straight.side)
    np.testing.assert_array_equal(other.scores[:, [1, 0, 2]], straight.scores)
    for name in ("score", "execute", "aggressive", "reason"):
        np.testing.assert_array_equal(getattr(other, name), getattr(straight, name))


def test_unknown_confidence_never_executes() -> None:
    for agent in range(3):
        confidence = [1.0, 1.0, 1.0]
        confidence[agent] = np.nan
        assert not one((0, 0, EXECUTE), confidence).execute[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution_threshold", 0.0),
        ("execution_threshold", 1.01),
        ("execution_threshold", float("nan")),
        ("min_agents", 0),
        ("min_agents", 4),
        ("counter_synergy_factor", -0.1),
        ("counter_synergy_factor", 1.1),
    ],
)
def test_config_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"aggregation.{field}"):
        AggregationConfig(**{field: value})


WEIGHTS = (
    (0.2, 0.3, 0.5),
    (0.6, 0.2, 0.2),
    (0.1, 0.8, 0.1),
    (0.25, 0.5, 0.25),
    (0.45, 0.15, 0.4),
)


def test_the_weights_of_a_synergy_type_are_settings() -> None:
    own = AggregationConfig(
        synergy_type_weights=SynergyTypeWeights(**dict(zip(SYNERGY_TYPES, WEIGHTS, strict=True)))
    )
    for kind, weights in enumerate(WEIGHTS):
        out = one((0, 2, WAIT), (0.9, 0.8, 0.7), kind=kind, config=own)
        expected = [weights[0] * 0.9, weights[1] * 0.8, weights[2] * 0.7]
        np.testing.assert_allclose(out.scores, [expected], rtol=1e-12)
    # by confidences, and by the constant of training, which is worked out once per configuration
    votes, kinds, direction = random_votes(3)
    constant = constant_votes(votes.index, 0.9)
    for cast in (votes, constant):
        found = cast.aggregate(kinds, direction, own)
        for i in range(len(kinds)):
            each = list(zip(cast.index[i].tolist(), cast.confidence[i].tolist(), strict=True))
            vote = reference_vote(
                each, int(kinds[i]), int(direction[i]), table=dict(enumerate(WEIGHTS))
            )
            assert found.side[i] == vote.side
            assert found.score[i] == pytest.approx(vote.score)
            assert Reason(found.reason[i]).code == vote.reason
    assert (constant.aggregate(kinds, direction, RULES).score != found.score).any()


@pytest.mark.parametrize(
    "weights", [(0.5, 0.5, 0.5), (1.5, -0.5, 0.0), (float("nan"),) * 3, (1.0,)]
)
def test_weights_that_are_no_shares_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"aggregation\.synergy_type_weights\.TYPE_2 must be 3"):
        SynergyTypeWeights(TYPE_2=weights)

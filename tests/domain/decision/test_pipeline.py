from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from rllib_tactical.domain.decision.aggregation import Aggregate, AggregationConfig
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import AnyArray, Instrument, Reason
from rllib_tactical.errors import OrderError
from tests.domain.builders import COIN, FREE, SHARE, seeds
from tests.wrong_arrays import assert_wrong_arrays_are_refused

GO_LONG, GO_SHORT = (0, 0, 1), (2, 2, 1)


def decide_one(
    index: tuple[int, int, int] = GO_LONG,
    confidence: float = 0.9,
    kind: int = 0,
    direction: int = 0,
    price: float = 100.0,
    atr: float = 1.0,
    instrument: Instrument = FREE,
    rules: Rules | None = None,
    after_gap: bool | None = None,
    **account: Any,
) -> Decision:
    state = dict(
        equity=100_000.0,
        session_peak=100_000.0,
        position_side=0,
        position_quantity=0.0,
        halted=False,
        tradable=True,
    )
    return decide(
        Votes(np.array([index]), np.full((1, 3), confidence)),
        MarketSnapshot(
            np.array([price]),
            np.array([atr]),
            np.array([kind]),
            np.array([direction]),
            None if after_gap is None else np.array([after_gap]),
        ),
        AccountView(**{name: np.array([v]) for name, v in (state | account).items()}),
        instrument,
        rules or Rules(),
    )


def test_long_order_by_hand() -> None:
    out = decide_one(confidence=0.8, instrument=dataclasses.replace(FREE, base_quantity=10.0))
    assert out.action[0] == 1
    assert out.execute[0]
    assert not out.closes[0]
    assert (out.stop[0], out.target[0]) == (98.0, 103.0)
    assert out.requested[0] == out.quantity[0] == 10.0  # score .8 is full size
    np.testing.assert_allclose(out.confidence, [0.8], rtol=1e-12)


def test_short_order_by_hand() -> None:
    out = decide_one(GO_SHORT)
    assert (out.action[0], out.stop[0], out.target[0]) == (-1, 102.0, 97.0)


def test_limits_reduce_the_quantity_and_keep_the_request() -> None:
    out = decide_one(atr=5.0, instrument=dataclasses.replace(FREE, base_quantity=40.0))
    assert (out.requested[0], out.quantity[0]) == (40.0, 16.0)


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (Reason.EXECUTE, {}),
        (Reason.NO_DIRECTION, dict(index=(1, 1, 1))),
        (Reason.NO_AGREEMENT, dict(index=(0, 1, 0), kind=1, confidence=1.0, rules="alone")),
        (Reason.BELOW_THRESHOLD, dict(confidence=0.6)),
        (Reason.COUNTER_SYNERGY, dict(kind=1, direction=-1)),
        (Reason.ENTRY_WAIT, dict(index=(0, 0, 0), confidence=1.0)),
        (Reason.SESSION_HALTED, dict(halted=True)),
        (Reason.SESSION_CLOSED, dict(tradable=False)),
        (Reason.RISK_LIMIT, dict(equity=98_000.0)),
        (Reason.LEVERAGE_LIMIT, dict(price=60_000.0)),
        (Reason.ALREADY_POSITIONED, dict(position_side=1, position_quantity=2.0)),
        (Reason.CLOSE_OPPOSITE, dict(position_side=-1, position_quantity=2.0)),
        (Reason.POSITIONS_LIMIT, dict(full=True)),
        (Reason.LEVEL_NOT_POSITIVE, dict(atr=50.0)),
        (Reason.LEVEL_NOT_POSITIVE, dict(index=GO_SHORT, atr=34.0)),
        (Reason.ACCOUNT_LOST, dict(equity=0.0)),
        (Reason.EXECUTE, dict(after_gap=False)),
        (Reason.DATA_GAP, dict(after_gap=True)),
        (Reason.DATA_GAP, dict(after_gap=True, index=(1, 1, 1))),
        (Reason.DATA_GAP, dict(after_gap=True, tradable=False, equity=0.0)),
        (Reason.DATA_GAP, dict(after_gap=True, position_side=-1, position_quantity=2.0)),
    ],
)
def test_every_reason(expected: Reason, arguments: dict[str, Any]) -> None:
    if arguments.get("rules") == "alone":
        lone = AggregationConfig(execution_threshold=0.3, entry_veto=False)
        # TYPE_1: fvg .5 against the hold of momentum .3 and entry .2 would tie; momentum is unsure
        arguments = {**arguments, "rules": Rules(aggregation=lone)}
        votes = Votes(np.array([[0, 1, 0]]), np.array([[1.0, 0.4, 0.4]]))
        out = decide(
            votes,
            MarketSnapshot(np.array([100.0]), np.array([1.0]), np.array([1]), np.array([1])),
            AccountView(
                *(np.array([v]) for v in (1e5, 1e5, 0, 0.0, False, True)),
            ),
            FREE,
            arguments["rules"],
        )
    else:
        out = decide_one(**arguments)
    assert Reason(int(out.reason[0])) is expected
    acts = expected in (Reason.EXECUTE, Reason.CLOSE_OPPOSITE)
    assert bool(out.execute[0]) is acts
    assert (out.action[0] != 0) == acts
    assert (out.quantity[0] > 0) == acts
    assert bool(out.closes[0]) is (expected is Reason.CLOSE_OPPOSITE)


def test_every_reason_is_covered() -> None:
    (cases,) = (mark.args[1] for mark in test_every_reason.pytestmark if mark.name == "parametrize")
    # see test_override
    above_the_vote = {each for each in Reason if Reason.PAUSED <= each <= Reason.DATA_STALE}
    above_the_vote |= {Reason.MODEL_LOADING, Reason.DATA_SUSPECT, Reason.POSITION_MISMATCH}
    above_the_vote |= {Reason.CLOCK_JUMPED, Reason.EVENT_LATE, Reason.EVENT_EARLY}
    assert {case[0] for case in cases} == set(Reason) - above_the_vote


def test_close_carries_the_whole_position() -> None:
    out = decide_one(GO_SHORT, position_side=1, position_quantity=7.0)
    assert (out.action[0], out.quantity[0], bool(out.closes[0])) == (-1, 7.0, True)


def test_refused_vote_is_never_a_close() -> None:
    out = decide_one((2, 2, 0), confidence=1.0, position_side=1, position_quantity=7.0)
    assert (out.action[0], out.quantity[0], bool(out.closes[0])) == (0, 0.0, False)


def test_unresolved_base_quantity() -> None:
    with pytest.raises(OrderError, match="base_quantity"):
        decide_one(instrument=Instrument(symbol="X", tick_size=0.25))


def test_votes_for_nothing_need_no_base_quantity() -> None:
    out = decide_one((1, 1, 0), instrument=Instrument(symbol="X", tick_size=0.25))
    assert (out.requested[0], out.stop[0], out.target[0], out.execute[0]) == (0.0, 0.0, 0.0, False)


def random_call(seed: int, count: int) -> tuple[Votes, MarketSnapshot, AccountView]:
    rng = np.random.default_rng(seed)
    held = rng.choice([-1, 0, 0, 1], count)
    kind = rng.integers(0, 5, count)
    return (
        Votes(
            rng.choice([0, 0, 1, 2, 2], (count, 3)),
            rng.choice([0.9, 1.0, 0.7, 0.5], (count, 3)),
        ),
        MarketSnapshot(
            np.round(rng.uniform(20.0, 60.0, count), 2),
            rng.uniform(0.05, 1.0, count),
            kind.astype(np.int8),
            np.where(kind > 0, rng.choice([1, -1], count), 0).astype(np.int8),
        ),
        AccountView(
            equity=rng.uniform(97_000.0, 100_000.0, count),
            session_peak=np.full(count, 100_000.0),
            position_side=held,
            position_quantity=np.where(held != 0, 5.0, 0.0),
            halted=rng.random(count) < 0.1,
            tradable=rng.random(count) < 0.9,
        ),
    )


def taken(value: Any, which: Any) -> Any:
    """Return rows ``which`` of a dataclass of arrays, of one inside it, or of an array.

    What is not an array belongs to all rows alike.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: taken(getattr(value, f.name), which) for f in dataclasses.fields(value)}
        return type(value)(**parts)
    return value[which] if isinstance(value, np.ndarray) else value


def assert_same(one: Any, other: Any) -> None:
    for item in dataclasses.fields(one):
        a, b = getattr(one, item.name), getattr(other, item.name)
        if isinstance(a, Aggregate):
            assert_same(a, b)
        else:
            np.testing.assert_array_equal(a, b, err_msg=item.name)


@given(seeds)
def test_one_account_decides_as_it_does_among_many(seed: int) -> None:
    call = random_call(seed, 40)
    for instrument in (SHARE, COIN):
        many = decide(*call, instrument, Rules())
        for i in (0, 13, 39):
            votes, market, account = (taken(part, slice(i, i + 1)) for part in call)
            alone = decide(votes, market, account, instrument, Rules())
            assert_same(alone, taken(many, slice(i, i + 1)))


@given(seeds)
def test_permuting_the_accounts_permutes_the_decisions(seed: int) -> None:
    call = random_call(seed, 60)
    order = np.random.default_rng(seed).permutation(60)
    straight = decide(*call, SHARE, Rules())
    votes, market, account = (taken(part, order) for part in call)
    shuffled = decide(votes, market, account, SHARE, Rules())
    assert_same(shuffled, taken(straight, order))


@given(seeds)
def test_decisions_are_consistent(seed: int) -> None:
    votes, market, account = random_call(seed, 300)
    out = decide(votes, market, account, SHARE, Rules())
    act = out.execute
    np.testing.assert_array_equal(act, out.quantity > 0)
    np.testing.assert_array_equal(out.action, np.where(act, out.vote.side, 0))
    np.testing.assert_array_equal(act, np.isin(out.reason, (Reason.EXECUTE, Reason.CLOSE_OPPOSITE)))
    assert (out.vote.execute | ~act).all()
    opens = act & ~out.closes
    assert (out.quantity[opens] <= out.requested[opens]).all()
    side = out.action[opens]
    assert (side * (market.price[opens] - out.stop[opens]) > 0).all()
    assert (side * (out.target[opens] - market.price[opens]) > 0).all()
    silent = ~out.vote.execute
    np.testing.assert_array_equal(out.reason[silent], out.vote.reason[silent])
    for name in ("requested", "stop", "target"):  # what the limits refuse was asked for
        np.testing.assert_array_equal(getattr(out, name) != 0.0, out.vote.execute, err_msg=name)


def test_wrong_arrays_are_refused() -> None:
    count = 4
    flat, open_ = np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.bool_)
    votes = {"index": np.zeros((count, 3), dtype=np.int64), "confidence": np.ones((count, 3))}
    market = {
        "price": np.full(count, 100.0),
        "atr": np.ones(count),
        "synergy_kind": np.zeros(count, dtype=np.int8),
        "synergy_direction": np.zeros(count, dtype=np.int8),
        "after_gap": ~open_,
    }
    account = {
        "equity": np.full(count, 1e5),
        "session_peak": np.full(count, 1e5),
        "position_side": flat,
        "position_quantity": np.zeros(count),
        "halted": ~open_,
        "tradable": open_,
    }

    def decided(**arrays: AnyArray) -> None:
        decide(
            Votes(**{name: arrays[name] for name in votes}),
            MarketSnapshot(**{name: arrays[name] for name in market}),
            AccountView(**{name: arrays[name] for name in account}),
            SHARE,
            Rules(),
        )

    assert_wrong_arrays_are_refused(decided, **votes, **market, **account)

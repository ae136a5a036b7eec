"""Fills, the account that follows from them, and the trades that they make up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import Instrument
from serve.api.responses import OrderMetadata, VoteLabels
from serve.api.write_requests import FillInput, FillsRequest
from serve.state.fills import FillRegister
from serve.state.portfolio import Portfolio, Trade, signed_votes
from tests.serve.local import Cluster
from tests.serve.writes import (
    accepted,
    executing,
    fill,
    fills_body,
    reasons,
    refused,
    with_service,
)


def test_fills_move_the_position_of_all_replicas(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        t, side = await executing(table, cluster)
        found = await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)))
        sign = 1.0 if side == "BUY" else -1.0
        assert (found["accepted"], found["position"]) == (1, 5.0 * sign)
        assert await reasons(cluster, table, t) == ["already_positioned"] * 3
        other = "SELL" if side == "BUY" else "BUY"
        await accepted(cluster, "/fills", fills_body(fill(2, other, 15.0, 100.0)), 1)
        assert await reasons(cluster, table, t) == ["close_opposite"] * 3
        again = await accepted(cluster, "/fills", fills_body(fill(1, side, 5.0, 100.0)), 2)
        assert (again["accepted"], again["repeated"], again["position"]) == (0, 1, -10.0 * sign)
        health = (await cluster.get("/health", 2)).json()
        assert health["metrics"]["active_positions"] == 1

    with_service(bundle, tmp_path, work)


def test_a_corrected_and_a_busted_fill_leave_nothing_behind(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        buy, sell = fill(1, "BUY", 100.0, 100.0), fill(2, "SELL", 100.0, 50.0)
        found = await accepted(cluster, "/fills", fills_body(buy, sell))
        assert (found["position"], found["halted"]) == (0.0, True)
        right = {**fill(3, "SELL", 40.0, 101.0), "corrects": "fill-2"}
        body = fills_body(right) | {"note": "the broker took the wrong price"}
        for replica in (0, 1):
            answer = await accepted(cluster, "/fills", body, replica)
            assert (answer["position"], answer["halted"]) == (60.0, False)
            assert answer["corrected"] + answer["repeated"] == 1
        await accepted(cluster, "/fills", fills_body(fill(4, "SELL", 60.0, 101.0)))
        assert len(cluster.machine().of().trades) == 1
        bust: dict[str, Any] = {"symbol": "TEST", "fills": [], "busts": ["fill-4"]}
        for busted in (1, 0):
            answer = await accepted(cluster, "/fills", bust, 1)
            assert (answer["busted"], answer["position"]) == (busted, 60.0)
            assert cluster.machine(1).of().trades == []
        unknown = {"symbol": "TEST", "fills": [], "busts": ["fill-9"]}
        assert await refused(cluster, "/fills", unknown) == (422, "unknown_fill", "busts[0]")
        empty = {"symbol": "TEST", "fills": []}
        assert await refused(cluster, "/fills", empty) == (422, "invalid_field", "fills")

    with_service(bundle, tmp_path, work, replicas=2)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (fills_body(fill(1, "BUY", 6.0, 100.0)), (409, "conflict", "fills[0].fill_id")),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0), fill(2, "SELL", 1.0, 1.0)),
            (409, "conflict", "fills[1].fill_id"),
        ),
        (fills_body(fill(2, "LONG", 1.0, 1.0)), (422, "invalid_field", "fills[0].side")),
        (fills_body(fill(2, "BUY", 0, 1.0)), (422, "invalid_field", "fills[0].quantity")),
        (fills_body(fill(2, "BUY", 1.0, -1.0)), (422, "invalid_field", "fills[0].price")),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0, timestamp=4_102_444_800)),
            (422, "invalid_field", "fills[0].timestamp"),
        ),
        (
            fills_body(fill(2, "BUY", 1.0, 1.0, metadata={"source": "me"})),
            (422, "invalid_field", "fills[0].metadata.source"),
        ),
        ({"symbol": "X", "fills": [fill(2, "BUY", 1.0, 1.0)]}, (422, "wrong_symbol", "symbol")),
    ],
)
def test_refused_fills_change_nothing(
    bundle: Bundle, tmp_path: Path, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        assert await refused(cluster, "/fills", body) == expected
        found = await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        assert found["position"] == 5.0

    with_service(bundle, tmp_path, work, replicas=1)


CONTRACT = Instrument(symbol="TEST", tick_size=0.25, point_value=10.0, commission_per_lot=2.0)
VOTES = VoteLabels(fvg="short", momentum="neutral", entry="aggressive")
ORIGIN = OrderMetadata("policy", "d", "b" * 64, 0.9, VOTES, None)


def portfolio() -> Portfolio:
    return Portfolio(CONTRACT, RiskConfig())


def given(
    fill_id: str, side: Any, lots: float, price: float, time_s: int, **more: Any
) -> FillInput:
    return FillInput(fill_id, side, lots, price, time_s, **more)


def traded(made: Portfolio, *fills: FillInput) -> list[Trade | None]:
    plan = FillRegister(CONTRACT).check(
        FillsRequest("TEST", list(fills)), 1_000.0, lambda fill_id: True
    )
    return [made.apply(fill) for fill in plan.new]


def test_a_trade_is_from_flat_to_flat_and_pays_every_cost() -> None:
    made = portfolio()
    entry = given("1", "SELL", 2.0, 100.0, 10, metadata=ORIGIN)
    part = given("2", "BUY", 0.5, 99.0, 20, commission=0.25)
    rest = given("3", "BUY", 1.5, 98.0, 30)
    assert traded(made, entry, part) == [None, None]
    (trade,) = traded(made, rest)
    # 0.5 x 1 + 1.5 x 2 points at $10; 2 x $2, $0.25 and 1.5 x $2 of commission
    assert trade == Trade(-1, 10.0, 30.0, 35.0 - 7.25, (-1, 0, 1), "b" * 64)
    assert made.trades == [trade]
    assert (made.account.side, made.account.cash) == (0, 100_000.0 + 35.0 - 7.25)


def test_a_fill_that_reverses_ends_a_trade_and_opens_the_next() -> None:
    made = portfolio()
    found = traded(
        made,
        given("1", "BUY", 1.0, 100.0, 10, commission=0.0, metadata=ORIGIN),
        given("2", "SELL", 3.0, 101.0, 20, commission=0.0),
        given("3", "BUY", 2.0, 101.5, 30, commission=0.0),
    )
    assert found[1] == Trade(1, 10.0, 20.0, 10.0, (-1, 0, 1), "b" * 64)
    assert found[2] == Trade(-1, 20.0, 30.0, -10.0, None)


def test_votes_of_an_order_become_signs() -> None:
    assert signed_votes(VOTES) == (-1, 0, 1)
    assert signed_votes(VoteLabels(fvg="hold", momentum="down", entry="wait")) == (0, -1, -1)

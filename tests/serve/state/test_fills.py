"""Which fills count: each once."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from serve.api.errors import RequestError
from serve.state.fills import FillRegister
from serve.state.portfolio import Fill
from tests.serve.state.test_portfolio import CONTRACT, given


def test_a_fill_counts_once_also_within_a_request() -> None:
    made = FillRegister(CONTRACT)
    fill = given("1", "BUY", 1.0, 100.0, 10)
    plan = made.check([fill, fill], now_s=1_000.0)
    assert (len(plan.new), plan.repeated) == (1, 1)
    assert plan.new[0] == Fill("1", 1, 1.0, 100.0, 2.0, 10.0)
    made.add(plan.new[0])
    assert made.check([fill], now_s=1_000.0).new == ()
    other = given("1", "BUY", 1.0, 100.25, 10)
    with pytest.raises(RequestError, match="1 was accepted with other values") as caught:
        made.check([given("2", "BUY", 1.0, 1.0, 10), other], now_s=1_000.0)
    assert (caught.value.status, caught.value.field) == (409, "fills[1].fill_id")


def test_a_commission_of_zero_is_not_one_that_was_left_out() -> None:
    made = FillRegister(CONTRACT)
    plan = made.check(
        [
            given("1", "BUY", 3.0, 1.0, 10, commission=UNSET),
            given("2", "BUY", 3.0, 1.0, 10, commission=0.0),
        ],
        now_s=1_000.0,
    )
    assert [fill.fee for fill in plan.new] == [6.0, 0.0]


def test_clocks_may_differ_by_a_minute() -> None:
    made = FillRegister(CONTRACT)
    assert made.check([given("1", "BUY", 1.0, 1.0, 1_060)], now_s=1_000.0).new
    with pytest.raises(RequestError, match="must not be in the future: now is 1000, found 1061"):
        made.check([given("1", "BUY", 1.0, 1.0, 1_061)], now_s=1_000.0)

"""Which fills count: each once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from serve.api.errors import RequestError
from serve.api.write_requests import FillInput, FillsRequest
from serve.state import fills
from serve.state.fills import FillPlan, FillRegister
from serve.state.portfolio import Fill
from tests.serve.state.test_portfolio import CONTRACT, ORIGIN, given


def check(made: FillRegister, *fills: FillInput, busts: Sequence[str] = ()) -> FillPlan:
    request = FillsRequest("TEST", list(fills), list(busts))
    return made.check(request, 1_000.0, lambda fill_id: fill_id != "old")


def test_a_fill_counts_once_also_within_a_request() -> None:
    made = FillRegister(CONTRACT)
    fill = given("1", "BUY", 1.0, 100.0, 10)
    plan = check(made, fill, fill)
    assert (len(plan.new), plan.repeated) == (1, 1)
    assert plan.new[0] == Fill("1", 1, 1.0, 100.0, 2.0, 10.0)
    made.add(plan.new[0])
    assert check(made, fill).new == ()
    other = given("1", "BUY", 1.0, 100.25, 10)
    with pytest.raises(RequestError, match="1 was accepted with other values") as caught:
        check(made, given("2", "BUY", 1.0, 1.0, 10), other)
    assert (caught.value.status, caught.value.field) == (409, "fills[1].fill_id")


def test_a_commission_of_zero_is_not_one_that_was_left_out() -> None:
    made = FillRegister(CONTRACT)
    plan = check(
        made,
        given("1", "BUY", 3.0, 1.0, 10, commission=UNSET),
        given("2", "BUY", 3.0, 1.0, 10, commission=0.0),
    )
    assert [fill.fee for fill in plan.new] == [6.0, 0.0]


def test_clocks_may_differ_by_a_minute() -> None:
    made = FillRegister(CONTRACT)
    assert check(made, given("1", "BUY", 1.0, 1.0, 1_060)).new
    with pytest.raises(RequestError, match="must not be in the future: now is 1000, found 1061"):
        check(made, given("1", "BUY", 1.0, 1.0, 1_061))


def test_old_fills_are_forgotten_and_none_as_old_is_taken_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fills, "KEPT_FILLS", 3)
    made = FillRegister(CONTRACT)
    for second in range(10, 15):
        origin = replace(ORIGIN, decision_id=f"d{second}")
        accept(made, check(made, given(f"{second}", "BUY", 1.0, 1.0, second, metadata=origin)))
    assert [fill.fill_id for fill in made.fills] == ["12", "13", "14"]
    assert [made.has_filled(f"d{second}") for second in (11, 12, 14)] == [False, True, True]
    for repeated in (given("10", "BUY", 1.0, 1.0, 10), given("new", "BUY", 1.0, 1.0, 11)):
        with pytest.raises(RequestError, match="may have been accepted before") as caught:
            check(made, repeated)
        assert (caught.value.status, caught.value.code) == (409, "too_old")
    assert check(made, given("late", "BUY", 1.0, 1.0, 12)).new


def accept(made: FillRegister, plan: FillPlan) -> None:
    for fill in plan.new:
        made.add(fill)
    for fill_id in plan.busts:
        made.bust(fill_id)


def test_corrections_and_busts_count_once_however_often_they_are_sent() -> None:
    made = FillRegister(CONTRACT)
    first = given("1", "BUY", 1.0, 100.0, 10, metadata=ORIGIN)
    second = given("2", "BUY", 2.0, 100.0, 10, corrects="1")
    third = given("3", "BUY", 3.0, 100.0, 10, corrects="2")
    plan = check(made, first, second)
    assert plan.new[1].votes == plan.new[0].votes == (-1, 0, 1)
    accept(made, plan)
    accept(made, check(made, third))
    assert check(made, first, second, third) == FillPlan((), (), 3)
    accept(made, check(made, busts=["3"]))
    assert check(made, first, second, third, busts=["3", "3"]) == FillPlan((), (), 5)
    assert made.busts == ["3"]


def correction(fill_id: str) -> FillInput:
    return given("9", "BUY", 1.0, 1.0, 10, corrects=fill_id)


@pytest.mark.parametrize(
    ("fills", "busts", "expected"),
    [
        ([], [], (422, "invalid_field", "fills")),
        (
            [correction("8")],
            [],
            (422, "unknown_fill", "fills[0].corrects"),
        ),
        (
            [correction("1")],
            [],
            (409, "conflict", "fills[0].corrects"),
        ),
        (
            [correction("old")],
            [],
            (409, "too_old", "fills[0].corrects"),
        ),
        ([correction("2")], ["2"], (409, "conflict", "busts[0]")),
        ([], ["8"], (422, "unknown_fill", "busts[0]")),
        ([], ["1"], (409, "conflict", "busts[0]")),
        ([], ["2", "old"], (409, "too_old", "busts[1]")),
    ],
)
def test_what_no_longer_counts_or_is_not_known_cannot_be_changed(
    fills: list[FillInput], busts: list[str], expected: tuple[int, str, str]
) -> None:
    made = FillRegister(CONTRACT)
    accept(made, check(made, given("old", "BUY", 1.0, 1.0, 5), given("1", "BUY", 1.0, 1.0, 10)))
    accept(made, check(made, given("2", "BUY", 1.0, 1.0, 10, corrects="1")))
    with pytest.raises(RequestError) as caught:
        check(made, *fills, busts=busts)
    assert (caught.value.status, caught.value.code, caught.value.field) == expected

"""The limits over the sum, by hand: accounts of 100 dollars each."""

from __future__ import annotations

from serve.state.total import Total, TotalLimits


def total_of(**limits: float) -> Total:
    made = Total(200.0)
    made.limit(TotalLimits(**limits))
    made.mark(200.0, {"A": 1, "B": 1})
    return made


def test_the_drawdown_counts_from_the_highest_sum() -> None:
    total = total_of(drawdown=0.1)
    for equity, halted in ((220.0, False), (198.5, False), (198.0, True), (230.0, True)):
        total.mark(equity, {"A": 1, "B": 1})
        assert total.halted is halted
    assert total.drawdown == 0.0
    assert total.peak == 230.0


def test_the_daily_loss_counts_from_the_start() -> None:
    total = total_of(daily_loss=0.1)
    for equity, halted in ((220.0, False), (180.5, False), (180.0, True)):
        total.mark(equity, {"A": 1, "B": 1})
        assert total.halted is halted
    assert not total_of().halted


def test_a_session_begins_when_every_account_has_begun_one() -> None:
    total = total_of(drawdown=0.1)
    total.mark(170.0, {"A": 1, "B": 1})
    total.mark(170.0, {"A": 2, "B": 1})
    total.mark(170.0, {"A": 3, "B": 1})
    assert total.halted
    total.mark(160.0, {"A": 3, "B": 2})  # B loses 10 in its first bar
    assert (total.halted, total.start, total.peak) == (False, 170.0, 170.0)
    total.mark(160.0, {"A": 3, "B": 3})
    assert total.start == 170.0  # A has begun no other since
    total.mark(153.0, {"A": 3, "B": 3})
    assert total.halted


def test_an_account_without_a_price_is_not_waited_for() -> None:
    total = total_of(drawdown=0.1)
    total.mark(170.0, {"A": 1})
    total.mark(170.0, {"A": 2})
    assert not total.halted


def test_money_that_comes_or_goes_is_no_profit_and_no_loss() -> None:
    total = total_of(drawdown=0.1, daily_loss=0.1)
    total.move(-100.0)
    total.mark(100.0, {"A": 1, "B": 1})
    assert (total.start, total.peak, total.halted) == (100.0, 100.0, False)
    total.mark(90.0, {"A": 1, "B": 1})
    assert total.halted


def test_what_was_wrong_counts_as_if_it_had_never_been() -> None:
    total = total_of(drawdown=0.1)
    total.mark(400.0, {"A": 1, "B": 1})  # a wrong price
    total.correct(205.0, highest=210.0)
    assert (total.peak, total.halted) == (210.0, False)
    total.mark(400.0, {"A": 1, "B": 1})  # again, and found only after the next bar
    total.mark(205.0, {"A": 1, "B": 1})
    assert total.halted
    total.correct(205.0, highest=210.0)
    assert (total.peak, total.halted) == (210.0, False)

    total.mark(185.0, {"A": 1, "B": 1})  # 4 below the limit of 189
    assert total.halted
    total.correct(188.0, highest=210.0)
    assert total.halted
    total.correct(192.0, highest=210.0)
    assert not total.halted


def test_other_limits_count_at_once_and_lift_nothing() -> None:
    total = total_of()
    total.mark(150.0, {"A": 1, "B": 1})
    total.limit(TotalLimits(drawdown=0.2))
    assert total.halted
    total.limit(TotalLimits())
    assert total.halted


def test_a_snapshot_goes_on_where_it_was() -> None:
    total = total_of(drawdown=0.1, daily_loss=0.5)
    total.mark(210.0, {"A": 2, "B": 1})
    again = Total(7.0)
    again.resume(total.state(), 210.0)
    for each in (total, again):
        each.mark(189.0, {"A": 2, "B": 1})
    assert (again.halted, again.start, again.peak, again.state()) == (
        True,
        total.start,
        total.peak,
        total.state(),
    )

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.synthetic.plan import (
    BREAKS_BACK,
    BREAKS_OUT,
    COMPLETE,
    GAP,
    MARKETS,
    MOMENTUM,
    SlotPlan,
    pay_probability,
    plan_slots,
)

BARS = 400_000


def share(chosen: np.ndarray) -> float:
    return float(np.mean(chosen))


@pytest.mark.parametrize(("difficulty", "probability"), [(0.0, 0.97), (0.5, 0.785), (1.0, 0.6)])
def test_signals_pay_less_often_on_harder_markets(difficulty: float, probability: float) -> None:
    assert pay_probability(difficulty) == pytest.approx(probability)
    plan = plan_slots("gap", 1, BARS, difficulty)
    assert share(plan.pays[plan.linked]) == pytest.approx(probability, abs=0.02)
    assert share(plan.pays[~plan.linked]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_slots_follow_each_other_and_cover_the_bars(name: str, difficulty: float) -> None:
    plan = plan_slots(name, 3, 5_000, difficulty)
    assert plan.start[0] == 0
    np.testing.assert_array_equal(plan.start[1:], np.cumsum(plan.length)[:-1])
    assert plan.start[-1] + plan.length[-1] >= 5_000


def test_the_length_of_a_slot_is_what_happens_in_it() -> None:
    plan = plan_slots("regime", 3, 20_000, 0.3)
    gap, burst = plan.family == GAP, plan.family == MOMENTUM
    # Lead 2, impulse and the gap's birth, leg; quiet bar, impulse, birth; hover; delay; rest.
    complete = 2 + 2 + plan.leg + 3 + plan.hover + plan.delay + plan.rest
    breaks_out = 2 + 2 + plan.leg + 3 + plan.rest
    breaks_back = 2 + 2 + plan.leg + plan.rest
    for fate, length in (
        (COMPLETE, complete),
        (BREAKS_OUT, breaks_out),
        (BREAKS_BACK, breaks_back),
    ):
        chosen = gap & (plan.fate == fate)
        assert chosen.sum() > 20
        np.testing.assert_array_equal(plan.length[chosen], length[chosen])
    # Lead 2, five volatile bars; delay; rest.
    np.testing.assert_array_equal(plan.length[burst], (7 + plan.delay + plan.rest)[burst])
    assert set(plan.fate[burst]) == {COMPLETE}


def test_the_first_slots_do_not_depend_on_the_number_of_bars() -> None:
    short, long = plan_slots("regime", 4, 800, 0.5), plan_slots("regime", 4, 8_000, 0.5)
    for name in SlotPlan.__slots__:
        column = getattr(short, name)
        np.testing.assert_array_equal(column, getattr(long, name)[: len(column)])


@pytest.mark.parametrize(("name", "family"), [("gap", GAP), ("momentum", MOMENTUM)])
@pytest.mark.parametrize(("difficulty", "decoys"), [(0.0, 0.05), (1.0, 0.3)])
def test_decoys_of_the_other_family_are_not_linked(
    name: str, family: int, difficulty: float, decoys: float
) -> None:
    plan = plan_slots(name, 5, BARS, difficulty)
    assert share(plan.family != family) == pytest.approx(decoys, abs=0.02)
    np.testing.assert_array_equal(plan.linked, plan.family == family)


def test_half_the_slots_of_noise_are_of_each_family_and_none_is_linked() -> None:
    plan = plan_slots("noise", 5, BARS, 0.0)
    assert share(plan.family == GAP) == pytest.approx(0.5, abs=0.02)
    assert not plan.linked.any()


def test_a_regime_lasts_twenty_slots() -> None:
    plan = plan_slots("regime", 6, BARS, 0.0)
    home = np.where(plan.linked, plan.family, 1 - plan.family)
    changes = int(np.sum(home[1:] != home[:-1]))
    assert len(home) / changes == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(("difficulty", "untouched"), [(0.0, 0.1), (1.0, 0.4)])
def test_some_gaps_are_never_touched(difficulty: float, untouched: float) -> None:
    plan = plan_slots("gap", 7, BARS, difficulty)
    gap = plan.family == GAP
    assert share(~plan.touched[gap]) == pytest.approx(untouched, abs=0.02)
    assert plan.touched[~gap].all()


def test_a_gap_slot_breaks_off_at_each_fork_with_probability_three_tenths() -> None:
    plan = plan_slots("gap", 8, BARS, 0.0)
    fate = plan.fate[plan.family == GAP]
    assert share(fate == BREAKS_BACK) == pytest.approx(0.3, abs=0.02)
    assert share(fate == BREAKS_OUT) == pytest.approx(0.7 * 0.3, abs=0.02)

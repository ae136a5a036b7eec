"""Each step from the votes to the order, and the limits that made it smaller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW
from serve.api.decide_request import DecideInput, OverrideParams
from serve.api.page import PageLimit, PageStep
from serve.dashboard.why import limits_of, steps_of
from serve.decision.decider import Circumstances, Decider
from tests.serve.decision.deciding import fixed

REQUEST = DecideInput(
    matrix=np.zeros((WINDOW, NUM_FEATURES)),
    symbol="TEST",
    price=100.0,
    atr=0.1,
    synergy_kind=0,
    synergy_direction=0,
    overrides=OverrideParams(),
    canonical=b"",
)
LONG = Votes(np.array([[0, 0, 1]]), np.ones((1, 3)))
WAIT = Votes(np.array([[1, 1, 0]]), np.ones((1, 3)))


@pytest.fixture
def decider(bundle: Bundle) -> Decider:
    return fixed(bundle)


def given(control: Control = Control.NONE, after_gap: bool = False) -> Circumstances:
    """Return an account of 100,000 dollars without a position, in an open market."""
    account = AccountView(
        equity=np.array([100_000.0]),
        session_peak=np.array([100_000.0]),
        position_side=np.array([0]),
        position_quantity=np.array([0.0]),
        halted=np.array([False]),
        tradable=np.array([True]),
    )
    return Circumstances(0.0, account, after_gap, control, None)


def names(steps: list[PageStep]) -> list[str]:
    return [step.name for step in steps]


def test_the_steps_lead_from_the_votes_over_the_limits_to_an_override(decider: Decider) -> None:
    wild = replace(REQUEST, atr=20.0)
    steps = steps_of(decider, LONG, wild, given())
    assert steps == [
        PageStep("votes", "long with a score of 1.0000", "long", 0.0),
        PageStep("order", "200 lots by confidence", "long", 200.0),
        PageStep("limits", "execute", "long", 39.0),
    ]
    paused = PageStep("override", "paused", "hold", 0.0)
    assert steps_of(decider, LONG, wild, given(Control.PAUSE)) == [*steps, paused]


def test_without_an_order_the_steps_say_why(decider: Decider) -> None:
    (votes,) = steps_of(decider, WAIT, REQUEST, given())
    assert votes == PageStep("votes", "hold with a score of 1.0000: no_direction", "hold", 0.0)
    gap = steps_of(decider, LONG, REQUEST, given(after_gap=True))
    assert names(gap) == ["votes", "gap"]
    assert gap[0].text == "long with a score of 1.0000"  # what the votes were worth all the same
    assert (gap[1].action, gap[1].quantity) == ("hold", 0.0)
    assert names(steps_of(decider, WAIT, REQUEST, given(Control.PAUSE))) == ["votes", "override"]


def test_only_limits_that_alone_make_the_order_smaller_are_named(decider: Decider) -> None:
    # 2% of 100,000 dollars at risk two ATRs away: 50 lots less costs; 80% of it: 40
    assert limits_of(decider, LONG, replace(REQUEST, atr=20.0), given()) == [
        PageLimit("max_risk_per_trade", 0.02, 49.0),
        PageLimit("drawdown_share_per_trade", 0.8, 39.0),
    ]
    # at 10,000 dollars five times the equity buys 50 lots
    (leverage,) = limits_of(decider, LONG, replace(REQUEST, price=10_000.0), given())
    assert (leverage.name, leverage.limit) == ("max_leverage", 5.0)
    assert leverage.quantity == pytest.approx(50.0, abs=1.0)
    assert limits_of(decider, LONG, REQUEST, given()) == []
    assert limits_of(decider, WAIT, replace(REQUEST, atr=20.0), given()) == []


def test_of_an_order_refused_for_another_reason_no_limit_is_named(decider: Decider) -> None:
    # the stop of a long, two ATRs below the price, would lie below zero
    no_level = replace(REQUEST, atr=60.0)
    assert steps_of(decider, LONG, no_level, given())[-1].text == "level_not_positive"
    assert limits_of(decider, LONG, no_level, given()) == []

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.domain.decision.override import Control, Override, apply_override, override_for
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView, RiskConfig
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.account import Account, account_view
from rllib_tactical.domain.types import Instrument, Reason

INSTRUMENT = Instrument(symbol="TEST", tick_size=0.01, base_quantity=10.0)


def view(side: int = 0, halted: bool = False) -> AccountView:
    account = dataclasses.replace(
        Account.opened(100_000.0), side=side, quantity=3.0 * abs(side), entry_price=100.0
    )
    account = dataclasses.replace(account, halted=halted)
    return account_view(account, 100.0, True, 1.0, RiskConfig())


def long_decision(account: AccountView) -> Decision:
    nothing = np.zeros(1, dtype=np.int64)
    market = MarketSnapshot(np.array([100.0]), np.array([1.0]), nothing, nothing)
    return decide(constant_votes(np.array([[0, 0, 1]]), 1.0), market, account, INSTRUMENT, Rules())


@pytest.mark.parametrize(
    ("control", "side", "halted", "data_issue", "expected"),
    [
        (Control.NONE, 0, False, None, None),
        (Control.NONE, 1, False, None, None),
        (Control.NONE, 0, True, None, None),  # the risk rules refuse by themselves
        (Control.NONE, 1, True, None, Override(Reason.SESSION_HALTED, flatten=True)),
        (Control.PAUSE, 1, True, None, Override(Reason.PAUSED, operator=True)),
        (Control.NONE, 1, True, Reason.DATA_SUSPECT, Override(Reason.DATA_SUSPECT)),
        (Control.FLATTEN, 1, True, Reason.DATA_SUSPECT, Override(Reason.FLATTEN, True, True)),
        (Control.FLATTEN, 1, True, Reason.EVENT_LATE, Override(Reason.EVENT_LATE)),
        (Control.NONE, 1, True, Reason.EVENT_EARLY, Override(Reason.EVENT_EARLY)),
        (Control.NONE, 1, True, Reason.CLOCK_JUMPED, Override(Reason.CLOCK_JUMPED)),
        (Control.FLATTEN, 1, True, Reason.CLOCK_JUMPED, Override(Reason.FLATTEN, True, True)),
        (Control.FORCE_HOLD, 0, False, None, Override(Reason.FORCED_HOLD, operator=True)),
        (Control.FLATTEN, 1, False, None, Override(Reason.FLATTEN, True, True)),
        (Control.FLATTEN, 1, False, Reason.DATA_STALE, Override(Reason.FLATTEN, True, True)),
        (Control.FLATTEN, 1, True, Reason.STATE_UNAVAILABLE, Override(Reason.STATE_UNAVAILABLE)),
        (Control.FLATTEN, 1, True, Reason.MODEL_LOADING, Override(Reason.MODEL_LOADING)),
        (Control.NONE, 0, False, Reason.DATA_STALE, Override(Reason.DATA_STALE)),
        (Control.NONE, -1, True, Reason.DATA_STALE, Override(Reason.SESSION_HALTED, flatten=True)),
    ],
)
def test_who_comes_first(
    control: Control, side: int, halted: bool, data_issue: Reason | None, expected: Override | None
) -> None:
    assert override_for(control, view(side, halted), data_issue) == expected


def test_a_hold_keeps_the_vote_and_drops_the_order() -> None:
    account = view()
    before = long_decision(account)
    assert before.execute[0]
    held = apply_override(before, account, Override(Reason.PAUSED))
    assert (held.action[0], held.execute[0], held.quantity[0]) == (0, False, 0.0)
    assert held.reason[0] == Reason.PAUSED
    assert held.vote is before.vote


@pytest.mark.parametrize("side", [1, -1, 0])
def test_flatten_closes_what_is_held(side: int) -> None:
    account = view(side)
    done = apply_override(long_decision(account), account, Override(Reason.FLATTEN, flatten=True))
    assert done.action[0] == -side
    assert bool(done.execute[0]) is bool(done.closes[0]) is (side != 0)
    assert done.quantity[0] == 3.0 * abs(side)

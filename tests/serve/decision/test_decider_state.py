"""What account, bars and clock make of a decision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.features.synergy import Synergy
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import WINDOW, Reason
from serve.api.errors import RequestError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.state.bars import BufferState
from tests.serve.conftest import request_at
from tests.serve.decision.deciding import FLAT, ask, fixed


def holding(side: int, **more: Any) -> RiskState:
    """Return the state of an account with seven lots entered at the market's price."""
    account = replace(
        Account.opened(100_000.0), side=side, quantity=7.0 * abs(side), entry_price=100.0
    )
    halted = more.pop("halted", False)
    return RiskState(replace(account, halted=halted), **more)


@pytest.fixture
def at_100(table: FeatureTable) -> dict[str, Any]:
    request = request_at(table, 300)
    request["market_context"].update(current_price=100.0, atr_5min=0.5)
    return request


def test_the_account_decides_with_the_votes(bundle: Bundle, at_100: dict[str, Any]) -> None:
    long = fixed(bundle)
    base = ask(long, at_100)
    same = ask(long, at_100, holding(1))
    assert same["decision"]["reason"] == "already_positioned"
    assert same["decision_id"] != base["decision_id"]
    halted = ask(long, at_100, holding(0, halted=True))
    assert (halted["decision"]["action"], halted["decision"]["reason"]) == (
        "hold",
        "session_halted",
    )
    closing = ask(long, at_100, holding(-1))["decision"]
    assert closing["reason"] == "close_opposite"
    assert closing["execution_command"]["quantity"] == 7.0
    assert closing["execution_command"]["stop_loss"] is None


def test_a_halt_closes_what_is_held(bundle: Bundle, at_100: dict[str, Any]) -> None:
    found = ask(fixed(bundle), at_100, holding(1, halted=True))
    command = found["decision"]["execution_command"]
    assert (found["source"], found["decision"]["reason"]) == ("policy", "session_halted")
    assert (command["side"], command["quantity"], command["stop_loss"]) == ("SELL", 7.0, None)
    # 7 lots lose 2% of equity at a price of 100 - 2,000 / 7, whatever was marked before
    at_100["market_context"]["current_price"] = 1.0
    large = RiskState(replace(holding(1).account, quantity=7_000.0))
    assert ask(fixed(bundle), at_100, large)["decision"]["reason"] == "session_halted"


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (Control.PAUSE, "paused"),
        (Control.FORCE_HOLD, "forced_hold"),
        (Control.FLATTEN, "flatten"),
    ],
)
def test_an_operators_order_stands_above_the_votes(
    bundle: Bundle, at_100: dict[str, Any], control: Control, reason: str
) -> None:
    base = ask(fixed(bundle), at_100)
    flat = ask(fixed(bundle), at_100, holding(0, control=control))
    assert (flat["source"], flat["decision"]["reason"]) == ("override", reason)
    assert (flat["decision"]["action"], flat["decision"]["execution_command"]) == ("hold", None)
    assert flat["decision"]["side"] == base["decision"]["side"] == "long"
    assert flat["agent_breakdown"] == base["agent_breakdown"]
    held = ask(fixed(bundle), at_100, holding(-1, control=control))["decision"]
    if control is Control.FLATTEN:
        command = held["execution_command"]
        assert (command["side"], command["quantity"]) == ("BUY", 7.0)
        assert command["metadata"]["source"] == "override"
    else:
        assert held["execution_command"] is None


def test_a_state_that_may_be_old_means_hold(bundle: Bundle, at_100: dict[str, Any]) -> None:
    lost = Reason.STATE_UNAVAILABLE
    found = ask(fixed(bundle), at_100, hold=lost)
    decision = found["decision"]
    assert (decision["action"], decision["reason"]) == ("hold", "state_unavailable")
    assert decision["execution_command"] is None
    assert found["decision_id"] != ask(fixed(bundle), at_100)["decision_id"]
    flatten = ask(fixed(bundle), at_100, holding(1, control=Control.FLATTEN), hold=lost)
    assert flatten["decision"]["reason"] == "state_unavailable"
    loading = ask(fixed(bundle), at_100, hold=Reason.MODEL_LOADING)["decision"]
    assert (loading["action"], loading["reason"]) == ("hold", "model_loading")


def test_a_decision_by_symbol_equals_the_one_by_matrix(bundle: Bundle, table: FeatureTable) -> None:
    market = market_of(table, 400)
    state = RiskState(Account.opened(100_000.0), market=market)
    decider = Decider(bundle, PerformanceConfig())
    now_s = market.last_s + 300.0
    for request in ({"symbol": "TEST"}, {"market_context": {"symbol": "TEST"}}):
        by_symbol = ask(decider, request, state, now_s=now_s)
        assert by_symbol == ask(decider, request_at(table, 400), state)


def test_a_decision_by_symbol_has_the_synergy_of_its_bars(
    bundle: Bundle, table: FeatureTable
) -> None:
    against = market_of(table, 400, synergy=Synergy(1, -1, 0.5))
    state = RiskState(Account.opened(100_000.0), market=against)
    now_s = against.last_s + 300.0
    context = {
        "synergy_type": "TYPE_1", "direction": -1, "confidence": 0.5, "event_id": "e",
        "timestamp": 1.0,
    }  # fmt: skip
    asked = {"symbol": "TEST"}
    found = ask(fixed(bundle), asked, state, now_s=now_s)
    told = ask(fixed(bundle), request_at(table, 400, synergy_context=context))
    assert found["decision"]["scores"] == told["decision"]["scores"]
    assert found["decision"]["confidence"] == told["decision"]["confidence"]
    alone = ask(fixed(bundle), asked, replaced(state, market_of(table, 400)), now_s=now_s)
    assert found["decision"]["confidence"] < alone["decision"]["confidence"]
    assert found["decision_id"] != alone["decision_id"]
    # the request's own synergy counts, and none for a policy that was trained without
    own = asked | {"synergy_context": context | {"direction": 1}}
    assert ask(fixed(bundle), own, state, now_s=now_s) == ask(
        fixed(bundle), own, replaced(state, market_of(table, 400)), now_s=now_s
    )
    for synergies in ("none", "0" * 64):
        training = {"data": {"synergies": synergies}}
        without = replace(bundle, manifest=bundle.manifest | {"training": training})
        assert ask(fixed(without), asked, state, now_s=now_s) == alone


def replaced(state: RiskState, market: BufferState) -> RiskState:
    return RiskState(state.account, market=market)


def market_of(table: FeatureTable, t: int, **changes: Any) -> BufferState:
    values: dict[str, Any] = {
        "matrix": table.raw[t - WINDOW + 1 : t + 1].tobytes(),
        "price": float(table.close[t]),
        "atr": float(table.atr[t]),
        "last_s": 300 * t,
        "arrived_s": 0.0,
        "bars": t + 1,
        "tradable": True,
        "bars_since_gap": None,
        "due_s": 300.0 * t + 600.0,
        **changes,
    }
    return BufferState(**values)


@pytest.mark.parametrize(
    ("changes", "later_s", "reason", "by_matrix"),
    [
        ({}, 900.0, "execute", "execute"),  # closed, then one bar, then as long as is allowed
        ({}, 901.0, "data_stale", "execute"),
        ({"bars_since_gap": 4}, 0.0, "data_gap", "execute"),
        ({"bars_since_gap": 5}, 0.0, "execute", "execute"),
        ({"tradable": False}, 0.0, "session_closed", "execute"),
        ({"tradable": False, "bars_since_gap": 4}, 0.0, "data_gap", "execute"),
        ({"tradable": False}, 901.0, "data_stale", "execute"),
        ({"tradable": False, "due_s": 3e6}, 901.0, "session_closed", "execute"),
    ],
)
def test_bars_that_cannot_be_trusted_mean_hold(
    bundle: Bundle,
    table: FeatureTable,
    changes: dict[str, Any],
    later_s: float,
    reason: str,
    by_matrix: str,
) -> None:
    """A matrix is the caller's to vouch for, and the clock tells whether the market is open."""
    market = market_of(table, 400, **changes)
    state = RiskState(Account.opened(100_000.0), market=market)
    found = ask(fixed(bundle), {"symbol": "TEST"}, state, now_s=market.last_s + later_s)
    assert found["decision"]["reason"] == reason
    found = ask(fixed(bundle), request_at(table, 400), state, now_s=market.last_s + later_s)
    assert found["decision"]["reason"] == by_matrix


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ("2024-11-29T14:30:00", "session_closed"),  # opens with this second
        ("2024-11-29T14:30:01", "execute"),
        ("2024-11-29T17:59:59", "execute"),
        ("2024-11-29T18:00:00", "session_closed"),  # 13:00 in New York, a half day
        ("2024-11-29T20:00:00", "session_closed"),
        ("2024-11-30T16:00:00", "session_closed"),  # Saturday
        ("2024-12-25T16:00:00", "session_closed"),
        ("2024-12-26T16:00:00", "execute"),
        ("2300-01-03T16:00:00", "session_closed"),  # beyond the calendar
    ],
)
def test_the_clock_tells_whether_the_market_is_open(
    bundle: Bundle, table: FeatureTable, at_100: dict[str, Any], now: str, reason: str
) -> None:
    """Whatever bars came: none, or one that a feed sent after the close."""
    stock = replace(bundle.instrument, calendar="XNYS", timezone="America/New_York")
    decider = fixed(replace(bundle, instrument=stock))
    now_s = float(np.datetime64(now, "s").astype(np.int64))
    assert ask(decider, at_100, now_s=now_s)["decision"]["reason"] == reason
    account = Account.opened(100_000.0)
    for tradable in (True, False):
        late = market_of(table, 400, tradable=tradable, last_s=int(now_s) - 300, due_s=now_s + 300)
        state = RiskState(account, market=late)
        assert ask(decider, at_100, state, now_s=now_s)["decision"]["reason"] == reason
        # in a replay the end of the bar is the clock
        replayed = RiskState(account, market=late, service=ServiceConfig(live_bars=False))
        found = ask(decider, at_100, replayed, now_s=now_s)["decision"]["reason"]
        assert found == ("execute" if tradable else "session_closed")


def test_replayed_bars_are_as_old_as_their_arrival(bundle: Bundle, table: FeatureTable) -> None:
    service = ServiceConfig(live_bars=False)
    market = market_of(table, 400, arrived_s=1e9)
    state = RiskState(Account.opened(100_000.0), market=market, service=service)
    decider = fixed(bundle)
    for later_s, reason in ((600.0, "execute"), (601.0, "data_stale")):
        found = ask(decider, {"symbol": "TEST"}, state, now_s=1e9 + later_s)
        assert found["decision"]["reason"] == reason


def test_too_few_bars_are_no_decision(bundle: Bundle, table: FeatureTable) -> None:
    for state in (
        FLAT,
        RiskState(Account.opened(1e5), market=market_of(table, 358)),
        RiskState(Account.opened(1e5), market=market_of(table, 358, matrix=b"", bars=9)),
    ):
        with pytest.raises(RequestError, match="360 bars have to be sent") as caught:
            ask(fixed(bundle), {"symbol": "TEST"}, state)
        assert (caught.value.status, caught.value.field) == (409, "matrix_state")

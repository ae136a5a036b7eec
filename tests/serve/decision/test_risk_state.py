"""What a replica's copy of the state says: the account, and whether the bars can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import Account, apply_fill
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, Reason
from serve.decision.risk_state import RiskState
from serve.state.bars import BufferState

RISK = RiskConfig()
FLAT = Account.opened(100_000.0)
LONG, _ = apply_fill(FLAT, 1, 10.0, 100.0, 5.0, 1.0)


def state(service: ServiceConfig | None = None, **bars: Any) -> RiskState:
    """Return a state whose last bar opened at 300 s, came at 601 s and is followed at 900 s."""
    values: dict[str, Any] = {
        "matrix": b"",
        "price": 100.0,
        "atr": 1.0,
        "last_s": 300,
        "arrived_s": 601.0,
        "bars": 400,
        "tradable": True,
        "bars_since_gap": None,
        "due_s": 900.0,
        **bars,
    }
    return RiskState(FLAT, Control.NONE, BufferState(**values), service or ServiceConfig())


def test_a_position_is_marked_at_the_price_and_a_flat_account_never_changes() -> None:
    held = RiskState(LONG)
    assert held.positions == 1
    assert held.view(103.0, True, 1.0, RISK).equity[0] == 100_000.0 - 5.0 + 10.0 * 3.0
    assert held.view(98.0, True, 1.0, RISK).equity[0] == 100_000.0 - 5.0 - 10.0 * 2.0
    flat = RiskState(FLAT)
    assert flat.positions == 0
    first = flat.view(103.0, True, 1.0, RISK)
    assert first.equity[0] == 100_000.0
    assert flat.view(50.0, True, 1.0, RISK) is first
    closing = flat.view(50.0, False, 1.0, RISK)
    assert (bool(first.tradable[0]), bool(closing.tradable[0])) == (True, False)


def test_there_is_a_matrix_once_there_are_sixty_bars() -> None:
    assert state().matrix is None
    raw = np.random.default_rng(0).normal(size=(WINDOW, NUM_FEATURES))
    found = state(matrix=raw.tobytes()).matrix
    assert found is not None
    np.testing.assert_array_equal(found, raw)


def test_live_bars_are_late_when_the_calendar_has_the_next_one_close() -> None:
    live = state()
    assert live.market_age_s(899.0, 300) == 0.0
    assert live.market_age_s(912.5, 300) == 12.5
    assert RiskState(FLAT).market_age_s(912.5, 300) is None


def test_replayed_bars_are_late_one_bar_after_they_came_and_never_over_night() -> None:
    replayed = ServiceConfig(live_bars=False)
    assert state(replayed).market_age_s(901.0, 300) == 0.0
    assert state(replayed).market_age_s(931.0, 300) == 30.0
    assert state(replayed, tradable=False).market_age_s(1e9, 300) == 0.0


@pytest.mark.parametrize(
    ("now_s", "expected"), [(900.0 + 20.0, None), (900.0 + 20.5, Reason.DATA_STALE)]
)
def test_bars_that_are_late_are_an_issue(now_s: float, expected: Reason | None) -> None:
    service = ServiceConfig(max_bar_age_s=20.0)
    assert state(service).data_issue_of(now_s, 300) is expected


@pytest.mark.parametrize(
    ("since_gap", "expected"), [(None, False), (0, True), (3, True), (4, False)]
)
def test_missing_bars_hold_for_as_long_as_the_bundle_says(
    since_gap: int | None, expected: bool
) -> None:
    risk = RiskConfig(hold_bars_after_gap=4)
    assert state(bars_since_gap=since_gap).after_gap(risk) is expected
    assert not RiskState(FLAT).after_gap(risk)


def test_without_bars_there_is_nothing_to_rely_on() -> None:
    assert RiskState(FLAT).data_issue_of(0.0, 300) is Reason.DATA_STALE


def test_bars_that_break_a_market_rule_are_suspect_where_they_are_live() -> None:
    live = state(suspect=("outlier_return",))
    assert live.data_issue_of(700.0, 300) is Reason.DATA_SUSPECT
    replayed = state(ServiceConfig(live_bars=False), suspect=("outlier_return",))
    assert (replayed.suspect, replayed.data_issue_of(700.0, 300)) == ((), None)

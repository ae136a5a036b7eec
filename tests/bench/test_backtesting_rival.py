from __future__ import annotations

import sys

import pytest

from rllib_tactical.bench import backtesting_rival
from rllib_tactical.bench.backtesting_rival import (
    Agreement,
    agreement,
    comparable_history,
    compare_rule,
    rival,
)
from rllib_tactical.bench.rivals import INSTALL
from rllib_tactical.synthetic import make_market


def test_the_same_strategy_makes_the_same_trades_to_the_cent() -> None:
    pytest.importorskip("backtesting", reason="comes with the extra bench")
    history = comparable_history(make_market("regime", 2, 12_000, 0.3))
    found = agreement(history, rival(history)())
    assert found.ours > 15
    assert found.exact, found
    assert found.our_pnl == pytest.approx(found.their_pnl, abs=0.01)


def test_a_trade_that_differs_is_not_called_equal() -> None:
    pytest.importorskip("backtesting", reason="comes with the extra bench")
    history = comparable_history(make_market("regime", 2, 6_000, 0.3))
    trades = rival(history)()
    trades.loc[0, "ExitPrice"] = trades["ExitPrice"][0] + 0.01
    found = agreement(history, trades)
    assert found.equal == found.ours - 1
    assert not found.exact


def test_without_the_package_the_rows_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backtesting", None)
    for row in compare_rule(make_market("regime", 2, 800, 0.3), 1):
        assert row.measurement.median > 0
        assert row.baselines[0].measurement is None
        assert row.baselines[0].note == INSTALL


def test_notes_say_what_agrees() -> None:
    note = backtesting_rival._note
    assert note(Agreement(3, 3, 3, 10.0, 10.0)).startswith("the same 3 trades, each equal to the")
    assert note(Agreement(3, 4, 2, 10.0, -5.0)) == (
        "2 equal trades of our 3 and its 4, P&L $10.00 and $-5.00"
    )

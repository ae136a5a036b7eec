"""What a result says of its equity."""

from __future__ import annotations

import pytest

from tests.backtest.scenes import result_of


def test_the_gain_is_that_of_the_marked_account_and_not_of_closed_trades() -> None:
    result = result_of([1000.0, 990.0, 1012.5], [0, 0, 0], [{"pnl": 99.0}])
    assert result.initial_equity == 1000.0
    assert result.net_pnl == pytest.approx(12.5)


def test_an_account_that_never_moves_gains_nothing() -> None:
    result = result_of([1000.0] * 3, [0, 1, 2])
    assert (result.initial_equity, result.net_pnl) == (1000.0, 0.0)

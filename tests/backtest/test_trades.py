from __future__ import annotations

import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.trades import TRADE_COLUMNS
from rllib_tactical.domain.decision.pipeline import Rules
from tests.backtest.scenes import LONG, SHORT, START, scene, votes_on

QUIET = (100.0, 100.5, 99.5, 100.0)


def play(
    rows: list[tuple[float, float, float, float]], entries: dict[int, tuple[int, int, int]]
) -> BacktestResult:
    history = scene(rows)
    count = len(rows) + 1
    return run_backtest(history, votes_on(count, entries), Rules(), START, START + count)


def test_a_long_trade_to_its_target() -> None:
    # decided at 100 with ATR 1: stop 98, target 103; bought at 100 + half a spread of 0.125
    rows = [(100.0, 101.0, 99.0, 100.5), (100.5, 103.5, 98.5, 103.0), QUIET]
    result = play(rows, {0: LONG})
    (trade,) = result.trades.to_dict("records")
    assert (trade["side"], trade["quantity"], trade["exit_reason"]) == ("long", 2.0, "target")
    assert (trade["stop"], trade["target"]) == (98.0, 103.0)
    assert (trade["entry_price"], trade["exit_price"]) == (100.125, 103.0)
    assert trade["pnl"] == pytest.approx((103 - 100.125) * 2 * 10 - 2 * 2 * 2.0)
    assert trade["costs"] == pytest.approx(0.125 * 2 * 10 + 2 * 2 * 2.0)
    assert trade["slippage"] == pytest.approx(0.00125)
    assert trade["bars_held"] == 2
    assert trade["mae"] == pytest.approx((99 - 100.125) * 20)  # the target's bar does not count
    assert trade["mfe"] == pytest.approx((103 - 100.125) * 20)
    assert trade["entry_bar"] == START + 1
    assert trade["exit_bar"] == START + 2
    assert (trade["exit_time"] - trade["entry_time"]).total_seconds() == 300
    assert (trade["vote_fvg"], trade["vote_momentum"], trade["vote_entry"]) == (1, 1, 0)
    assert trade["equity_before"] == 100_000.0
    assert result.net_pnl == pytest.approx(49.5)
    assert list(result.trades.columns) == list(TRADE_COLUMNS)


def test_a_short_trade_to_its_stop_pays_the_spread_again() -> None:
    # sold at 99.875, stop 102 hit inside the bar, bought back at 102.125
    result = play([(100.0, 102.5, 99.0, 102.0), QUIET], {0: SHORT})
    (trade,) = result.trades.to_dict("records")
    assert (trade["side"], trade["exit_reason"]) == ("short", "stop")
    assert (trade["entry_price"], trade["exit_price"]) == (99.875, 102.125)
    assert trade["pnl"] == pytest.approx((99.875 - 102.125) * 20 - 8)
    assert trade["costs"] == pytest.approx(2 * 0.125 * 20 + 8)
    assert trade["mae"] == pytest.approx((99.875 - 102.125) * 20)
    assert trade["mfe"] == 0.0  # the low of the bar may have come after the stop


def test_a_trade_closed_by_the_opposite_vote() -> None:
    result = play([QUIET, QUIET, QUIET, QUIET], {0: LONG, 2: SHORT})
    (trade,) = result.trades.to_dict("records")
    assert trade["exit_reason"] == "opposite"
    assert trade["exit_price"] == 99.875
    assert trade["bars_held"] == 3
    assert result.decisions["closes"].tolist() == [False, False, True, False]
    # bars 1 and 2 were held whole: low 99.5 and high 100.5 against 100.125
    assert trade["mae"] == pytest.approx(-0.625 * 20)
    assert trade["mfe"] == pytest.approx(0.375 * 20)


def test_a_position_open_at_the_end_is_valued_at_the_last_close() -> None:
    rows = [QUIET, (100.0, 101.0, 99.5, 100.75), QUIET]
    history = scene(rows)
    result = run_backtest(history, votes_on(3, {0: LONG}), Rules(), START, START + 3)
    (trade,) = result.trades.to_dict("records")
    assert trade["exit_reason"] == "end_of_data"
    assert trade["exit_price"] == 100.75
    assert trade["pnl"] == pytest.approx((100.75 - 100.125) * 20 - 4)
    assert trade["pnl"] == pytest.approx(result.net_pnl)
    assert trade["costs"] == pytest.approx(0.125 * 20 + 4)
    assert trade["mfe"] == pytest.approx((101.0 - 100.125) * 20)
    assert trade["bars_held"] == 2


def test_no_trade_leaves_an_empty_table_with_all_columns() -> None:
    result = play([QUIET, QUIET], {})
    assert result.trades.empty
    assert list(result.trades.columns) == list(TRADE_COLUMNS)
    assert result.net_pnl == 0.0

"""Trades are made of fills, matched by their entry, and told apart by what explains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.gateways.comparison import (
    BOTH_LEVELS,
    CUT_OFF,
    END_OF_DATA,
    EQUAL,
    FOLLOWS,
    GAP,
    UNEXPLAINED,
    EngineTrade,
    compare,
    table,
    trades_of,
)
from tests.contract import parity

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BacktestResult:
    folder: Path = tmp_path_factory.mktemp("case")
    case = parity.synthetic()
    return parity.backtest(parity.opinionated(folder / "bundle", case), case, folder)


def as_fills(result: BacktestResult) -> list[dict[str, Any]]:
    times, fills = result.history.bars.timestamp_s, []
    for row in result.trades.to_dict("records"):
        sides = ("BUY", "SELL") if row["side"] == "long" else ("SELL", "BUY")
        for side, bar, price in zip(
            sides,
            (row["entry_bar"], row["exit_bar"]),
            (row["entry_price"], row["exit_price"]),
            strict=True,
        ):
            half = row["quantity"] / 2
            # in two parts, the second at the bar's last moment
            for second in (0, 299):
                fills.append(
                    {
                        "side": side,
                        "quantity": half,
                        "price": price,
                        "commission": half * 0.005,
                        "time_s": float(times[bar] + second),
                    }
                )
    return fills


def test_the_backtest_s_own_fills_are_equal_whatever_parts_they_come_in(
    result: BacktestResult,
) -> None:
    trades = trades_of(as_fills(result), result)
    compared = compare(result, trades)
    assert {each.verdict for each in compared} == {EQUAL}
    assert len(compared) == len(result.trades)
    first, row = trades[0], result.trades.iloc[0]
    sign = 1.0 if first.side == "long" else -1.0
    gained = sign * (row["exit_price"] - row["entry_price"]) * row["quantity"]
    assert first.pnl == pytest.approx(gained - 2 * row["quantity"] * 0.005)
    assert table(compared).splitlines()[2:] == [f"| {len(trades)} | equal |"]


def changed(result: BacktestResult, number: int, **changes: Any) -> list[EngineTrade]:
    trades = trades_of(as_fills(result), result)
    values = {name: getattr(trades[number], name) for name in EngineTrade.__slots__}
    trades[number] = EngineTrade(**(values | changes))
    return trades


def test_a_difference_is_explained_by_its_bar_or_not_at_all(result: BacktestResult) -> None:
    bars = result.history.bars
    rows = result.trades.to_dict("records")
    gap = next(
        i
        for i, row in enumerate(rows)
        if row["exit_reason"] == "stop"
        and row["side"] == "long"
        and bars.open[row["exit_bar"]] < row["stop"]
    )
    level = rows[gap]["stop"]
    verdicts = [each.verdict for each in compare(result, changed(result, gap, exit_price=level))]
    assert verdicts[gap] == GAP
    assert set(verdicts) == {EQUAL, GAP}
    inside = next(
        i
        for i, row in enumerate(rows)
        if row["exit_reason"] == "stop" and i != gap and row["exit_bar"] > row["entry_bar"]
    )
    other = compare(result, changed(result, inside, exit_price=1.0))
    assert other[inside].verdict == UNEXPLAINED
    low, high = bars.low[rows[inside]["exit_bar"]], bars.high[rows[inside]["exit_bar"]]
    result.trades.loc[inside, ["stop", "target"]] = low, high
    other = compare(result, changed(result, inside, exit_price=1.0))
    assert other[inside].verdict == BOTH_LEVELS
    late = changed(result, inside, entry_bar=rows[inside]["entry_bar"] + 1)
    verdicts = [each.verdict for each in compare(result, late)]
    assert verdicts[inside] == UNEXPLAINED
    assert FOLLOWS in verdicts[inside + 1 :]


def test_a_session_that_ends_without_its_last_bars_is_closed_at_the_next_open(
    result: BacktestResult,
) -> None:
    rows = result.trades.to_dict("records")
    number = next(i for i, row in enumerate(rows[:-1]) if row["exit_reason"] == "session_end")
    bar = int(rows[number]["exit_bar"]) + 1
    price = float(result.history.bars.open[bar])
    late = changed(result, number, exit_bar=bar, exit_price=price)
    assert compare(result, late)[number].verdict == CUT_OFF
    wrong = changed(result, number, exit_bar=bar, exit_price=price + 1.0)
    assert compare(result, wrong)[number].verdict == UNEXPLAINED


def test_what_is_open_at_the_end_is_no_difference(result: BacktestResult) -> None:
    last = len(result.trades) - 1
    row = result.trades.iloc[last]
    still_open = changed(result, last, exit_bar=None, exit_price=None, pnl=None)
    verdict = compare(result, still_open)[last].verdict
    assert verdict == (END_OF_DATA if row["exit_bar"] == result.stop - 1 else UNEXPLAINED)

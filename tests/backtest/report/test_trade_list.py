from __future__ import annotations

import json

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.report.tables import conditions
from rllib_tactical.backtest.report.trade_list import trade_list
from rllib_tactical.reporting.format import dollars


def test_every_trade_has_a_row_with_its_columns(comparison: Comparison) -> None:
    result = comparison.policy.result
    table = trade_list(result)
    names = [column["name"] for column in table["columns"]]
    assert len(table["rows"]) == len(result.trades) > 0
    first, row = result.trades.iloc[0], dict(zip(names, table["rows"][0], strict=True))
    assert row["pnl"] == (dollars(first["pnl"]), round(first["pnl"], 6))
    assert row["side"] == (first["side"], first["side"])
    assert row["bars_held"][1] == first["bars_held"]
    assert row["entry_time"][0] == f"{first['entry_time']:%Y-%m-%d %H:%M}"  # the zone is UTC
    assert len(row["votes"][0].split()) == 3
    json.dumps(table, allow_nan=False)


def test_numbers_sort_as_numbers(comparison: Comparison) -> None:
    table = trade_list(comparison.policy.result)
    place = [column["name"] for column in table["columns"]].index("pnl")
    values = [row[place][1] for row in table["rows"]]
    assert all(isinstance(value, float) for value in values)


def test_conditions_say_capital_costs_and_rules(comparison: Comparison) -> None:
    texts = dict(conditions(comparison.policy.result))
    assert texts["Capital"] == "$100,000 in one account"
    assert "commission a lot and side" in texts["Costs"]
    assert "stop 2 ATR, target 3 ATR" in texts["Rules"]
    assert "drawdown of 2.0%" in texts["Rules"]

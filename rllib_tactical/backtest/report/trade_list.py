"""All trades of a backtest as the rows of a table that is sorted and filtered in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.reporting.format import dollars, number

_SIGNS: Final = {-1: "-", 0: "0", 1: "+"}


def trade_lists(results: Mapping[str, BacktestResult]) -> dict[str, Any]:
    """Return the trades of several files as ``trade_list`` does, the name of the file first."""
    lists = {name: trade_list(result) for name, result in results.items()}
    part = {"name": "part", "label": "file", "number": False}
    return {
        "columns": [part, *next(iter(lists.values()))["columns"]],
        "rows": [[(name, name), *row] for name, found in lists.items() for row in found["rows"]],
    }


def trade_list(result: BacktestResult) -> dict[str, Any]:
    """Return ``columns`` (name, label, whether a number) and ``rows`` of [shown, sorted by].

    Times are those of the instrument's time zone; a trade's votes are signs of fvg, momentum and
    entry.
    """
    trades, zone = result.trades, result.history.instrument.timezone
    cells: dict[str, list[tuple[str, float | str]]] = {}
    for name in ("entry_time", "exit_time"):
        local = trades[name].dt.tz_convert(zone).dt.strftime("%Y-%m-%d %H:%M")
        utc = (trades[name].astype("int64")).tolist()
        cells[name] = list(zip(local.tolist(), utc, strict=True))
    for name in ("side", "exit_reason"):
        cells[name] = [(text.replace("_", " "), text) for text in trades[name].tolist()]
    for name in ("quantity", "entry_price", "exit_price"):
        cells[name] = [(f"{value:.10g}", value) for value in trades[name].tolist()]
    for name in ("pnl", "costs", "mae", "mfe"):
        cells[name] = [(dollars(value), round(value, 6)) for value in trades[name].tolist()]
    cells["bars_held"] = [(f"{value:,}", value) for value in trades["bars_held"].tolist()]
    cells["score"] = [(number(value), value) for value in trades["score"].tolist()]
    votes = trades[["vote_fvg", "vote_momentum", "vote_entry"]].astype("int64").to_numpy().tolist()
    signs = [" ".join(_SIGNS[vote] for vote in row) for row in votes]
    cells["votes"] = [(text, text) for text in signs]
    aligned = ["yes" if value else "no" for value in trades["synergy_aligned"].tolist()]
    cells["synergy_aligned"] = [(text, text) for text in aligned]
    return {
        "columns": [
            {"name": name, "label": label, "number": is_number}
            for name, (label, is_number) in _COLUMNS.items()
        ],
        "rows": [list(row) for row in zip(*(cells[name] for name in _COLUMNS), strict=True)],
    }


_COLUMNS: Final = {
    "entry_time": ("entry", False),
    "exit_time": ("exit", False),
    "side": ("side", False),
    "quantity": ("lots", True),
    "entry_price": ("entry price", True),
    "exit_price": ("exit price", True),
    "exit_reason": ("ended by", False),
    "pnl": ("P&L", True),
    "costs": ("costs", True),
    "mae": ("worst", True),
    "mfe": ("best", True),
    "bars_held": ("bars", True),
    "score": ("confidence", True),
    "votes": ("votes", False),
    "synergy_aligned": ("with synergy", False),
}

"""The table of trades: what was bought and sold, why, at what cost, and how it went meanwhile."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.result import END_OF_DATA
from rllib_tactical.backtest.tables import Log, utc_times
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import AGENTS, FloatArray, IntArray

TRADE_COLUMNS: Final = {
    "entry_time": "UTC open time of the bar at whose open the entry was filled",
    "exit_time": "UTC open time of the bar on which the trade ended",
    "side": "long or short",
    "quantity": "lots",
    "requested": "lots asked for before the risk limits",
    "decision_price": "close of the bar on which the entry was decided",
    "entry_price": "fill of the entry",
    "exit_price": "fill of the exit; the last close for end_of_data",
    "stop": "stop price of the order",
    "target": "target price of the order",
    "exit_reason": "opposite, stop, target, session_end, halt, liquidation or end_of_data",
    "pnl": "dollars, net of every cost",
    "costs": "dollars of spread, slippage, commission and funding paid",
    "slippage": "(entry fill - decision price) / decision price, positive when it hurts",
    "bars_held": "bars from the entry's to the exit's, both counted",
    "mae": "dollars: largest open loss against the entry price, <= 0",
    "mfe": "dollars: largest open profit against the entry price, >= 0",
    "score": "confidence of the decision",
    "synergy_aligned": "a synergy in the trade's direction was in force at the decision",
    "vote_fvg": "signed vote at the decision",
    "confidence_fvg": "its probability",
    "vote_momentum": "signed vote at the decision",
    "confidence_momentum": "its probability",
    "vote_entry": "signed vote at the decision",
    "confidence_entry": "its probability",
    "entry_bar": "index of the entry's bar in the data",
    "exit_bar": "index of the exit's bar in the data",
    "equity_before": "dollars of equity at the decision",
}
"""Columns of the table and what they mean."""


def trade_table(
    history: MarketHistory, start: int, log: Log, equity: pd.DataFrame, decisions: pd.DataFrame
) -> pd.DataFrame:
    """Return the trades in order of exit, one row each, with the columns of ``TRADE_COLUMNS``.

    A position that is open at the last bar is the last row, with reason ``end_of_data`` and valued
    as the equity is, so that the P&L of the rows always sums to the change of equity.
    """
    part = {
        name: log[name][log["exited"]]
        for name in ("exit_price", "exit_reason", "trade_pnl", "trade_cost")
    }
    part["side"] = log["trade_side"][log["exited"]]
    part["quantity"] = log["trade_quantity"][log["exited"]]
    part["entry_t"] = log["trade_entry_t"][log["exited"]]
    part["entry_price"] = log["trade_entry_price"][log["exited"]]
    part["exit_bar"] = np.flatnonzero(log["exited"]) + start + 1
    reasons = [ExitReason(code).name.lower() for code in part["exit_reason"]]
    values = equity["equity"].to_numpy()
    if log["side"][-1] != 0:
        entry_row = np.flatnonzero(log["entered"])[-1]
        last = {
            "exit_price": history.bars.close[start + len(values) - 1],
            "trade_pnl": values[-1] - values[entry_row],
            "trade_cost": log["open_cost"][-1],
            "side": log["side"][-1],
            "quantity": log["held"][-1],
            "entry_t": start + entry_row,
            "entry_price": log["entry_price"][entry_row],
            "exit_bar": start + len(values) - 1,
        }
        part = {name: np.append(part[name], value) for name, value in last.items()}
        reasons.append(END_OF_DATA)
    return _table(history, start, part, reasons, values, decisions)


def _table(
    history: MarketHistory,
    start: int,
    part: Log,
    reasons: list[str],
    equity: FloatArray,
    decisions: pd.DataFrame,
) -> pd.DataFrame:
    side, entry_t = part["side"].astype(np.int64), part["entry_t"].astype(np.int64)
    exit_bar = part["exit_bar"].astype(np.int64)
    price, decided = part["entry_price"], history.bars.close[entry_t]
    at_entry = decisions.iloc[entry_t - start]
    worst, best = _excursions(history, part, reasons)
    scale = part["quantity"] * history.instrument.point_value
    kind, direction = history.synergy.kind[entry_t], history.synergy.direction[entry_t]
    columns: dict[str, Any] = {
        "entry_time": utc_times(history, entry_t + 1),
        "exit_time": utc_times(history, exit_bar),
        "side": np.where(side > 0, "long", "short"),
        "quantity": part["quantity"],
        "requested": at_entry["requested"].to_numpy(),
        "decision_price": decided,
        "entry_price": price,
        "exit_price": part["exit_price"],
        "stop": at_entry["stop"].to_numpy(),
        "target": at_entry["target"].to_numpy(),
        "exit_reason": reasons,
        "pnl": part["trade_pnl"],
        "costs": part["trade_cost"],
        "slippage": side * (price - decided) / decided,
        "bars_held": exit_bar - entry_t,
        "mae": worst * scale,
        "mfe": best * scale,
        "score": at_entry["score"].to_numpy(),
        "synergy_aligned": (kind > 0) & (direction == side),
    }
    for agent in AGENTS:
        for name in (f"vote_{agent}", f"confidence_{agent}"):
            columns[name] = at_entry[name].to_numpy()
    columns["entry_bar"], columns["exit_bar"] = entry_t + 1, exit_bar
    columns["equity_before"] = equity[entry_t - start]
    return pd.DataFrame(columns)


def _excursions(
    history: MarketHistory, part: Log, reasons: list[str]
) -> tuple[FloatArray, FloatArray]:
    """Return the worst (<= 0) and the best (>= 0) move in price units during each trade.

    Whole bars count by their high and low. Of the bar on which a trade ends inside or at the open,
    only the exit price counts, because what came after it is not the trade's.
    """
    high, low = history.bars.high, history.bars.low
    at_the_close = (ExitReason.SESSION_END, ExitReason.LIQUIDATION)
    to_the_close = {END_OF_DATA, *(reason.name.lower() for reason in at_the_close)}
    worst, best = np.zeros(len(reasons)), np.zeros(len(reasons))
    rows = zip(
        part["side"].tolist(),
        part["entry_t"].tolist(),
        part["entry_price"].tolist(),
        part["exit_bar"].tolist(),
        part["exit_price"].tolist(),
        reasons,
        strict=True,
    )
    for row, (side, entry_t, price, exit_bar, exit_price, reason) in enumerate(rows):
        first = int(entry_t) + 1
        last = int(exit_bar) + (reason in to_the_close)
        moves = [0.0, side * (exit_price - price)]
        if last > first:
            moves += [
                side * (float(high[first:last].max()) - price),
                side * (float(low[first:last].min()) - price),
            ]
        worst[row], best[row] = min(moves), max(moves)
    return worst, best


def entry_bars(trades: pd.DataFrame) -> IntArray:
    """Return the bars (K,) at whose close the trades were decided."""
    return np.asarray(trades["entry_bar"].to_numpy() - 1, dtype=np.int64)

"""Trades of an execution engine beside those of the backtest, and why those that differ do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.result import BacktestResult

TOLERANCE: Final = 1e-6
"""By how much prices and quantities may differ: engines keep them as decimals."""

EQUAL: Final = "equal"
BOTH_LEVELS: Final = "both levels inside one bar"
GAP: Final = "the bar opens beyond the level"
CUT_OFF: Final = "the last bars of the session never came"
END_OF_DATA: Final = "open at the end of the data"
FOLLOWS: Final = "follows from an earlier difference"
UNEXPLAINED: Final = "unexplained"

EXPLAINED: Final = {
    EQUAL: "side, quantity, bars and prices of entry and exit are the same",
    BOTH_LEVELS: "stop and target lie inside the exit's bar: the simulator takes the stop, the "
    "engine what its order of low and high reaches first",
    GAP: "the simulator fills at the open, worse for a stop and better for a target, or carries "
    "out the order to close; the engine fills at the level",
    CUT_OFF: "the backtest closes at the last bar that came; without data the clock of the engine "
    "stands still, and the order that closes meets the open of the next session",
    END_OF_DATA: "the backtest values or closes the position at the last close, the engine leaves "
    "it open",
    FOLLOWS: "the account or the position is another one since an earlier difference",
    UNEXPLAINED: "none of these",
}
"""What a trade can be, and what that means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTrade:
    """A trade of the engine: lots, prices, and the bars in which it was opened and closed.

    ``exit_bar`` and ``exit_price`` are None while it is open; ``pnl`` in dollars, net.
    """

    side: str
    quantity: float
    entry_bar: int
    entry_price: float
    exit_bar: int | None = None
    exit_price: float | None = None
    pnl: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A trade of the backtest (its row as a dictionary), the engine's beside it, and the verdict.

    One of both may be missing.
    """

    backtest: dict[str, Any] | None
    engine: EngineTrade | None
    verdict: str


def trades_of(fills: Sequence[dict[str, Any]], result: BacktestResult) -> list[EngineTrade]:
    """Return the trades that an engine's fills make, see ``EngineFill`` for their keys.

    Args:
        fills: in order; a position is closed before another one is opened.
        result: the backtest on the same bars.
    """
    times = result.history.bars.timestamp_s
    point_value = result.history.instrument.point_value
    trades: list[EngineTrade] = []
    held, paid, lots, fees, value = 0.0, 0.0, 0.0, 0.0, 0.0
    entry: dict[str, Any] = {}
    for fill in fills:
        sign = 1.0 if fill["side"] == "BUY" else -1.0
        if abs(held) < TOLERANCE:
            entry, held, paid, lots, fees, value = fill, 0.0, 0.0, 0.0, 0.0, 0.0
        opens = fill["side"] == entry["side"]
        held += sign * fill["quantity"]
        fees += fill["commission"]
        if opens:
            paid, lots = paid + fill["price"] * fill["quantity"], lots + fill["quantity"]
        else:
            value += fill["price"] * fill["quantity"]
        if abs(held) < TOLERANCE or fill is fills[-1]:
            long = 1.0 if entry["side"] == "BUY" else -1.0
            done = abs(held) < TOLERANCE
            gained = long * (value - paid) * point_value - fees
            trades.append(
                EngineTrade(
                    side="long" if long > 0 else "short",
                    quantity=lots,
                    entry_bar=_bar(times, entry["time_s"]),
                    entry_price=paid / lots,
                    exit_bar=_bar(times, fill["time_s"]) if done else None,
                    exit_price=value / lots if done else None,
                    pnl=gained if done else None,
                )
            )
    return trades


def compare(result: BacktestResult, trades: Sequence[EngineTrade]) -> list[Compared]:
    """Return every trade of both, in order of entry, with a verdict of ``EXPLAINED``."""
    rows: list[Any] = result.trades.to_dict("records")
    ours: dict[int, dict[str, Any]] = {int(row["entry_bar"]): row for row in rows}
    theirs = {trade.entry_bar: trade for trade in trades}
    compared, differed = [], False
    for bar in sorted({*ours, *theirs}):
        row, trade = ours.get(bar), theirs.get(bar)
        verdict = _verdict(result, row, trade, differed)
        differed |= verdict != EQUAL
        compared.append(Compared(backtest=row, engine=trade, verdict=verdict))
    return compared


def table(compared: Sequence[Compared]) -> str:
    """Return the counts of each verdict as a Markdown table."""
    return "\n".join(("| trades | verdict |", "|---|---|", *_rows(compared)))


def _rows(compared: Sequence[Compared]) -> Iterator[str]:
    for verdict in EXPLAINED:
        count = sum(each.verdict == verdict for each in compared)
        if count:
            yield f"| {count} | {verdict} |"


def _verdict(
    result: BacktestResult,
    row: dict[str, Any] | None,
    trade: EngineTrade | None,
    differed: bool,
) -> str:
    if row is not None and trade is not None and _same(row, trade, "entry"):
        if trade.exit_bar is None and row["exit_bar"] == result.stop - 1:
            return END_OF_DATA
        if _same(row, trade, "exit"):
            return EQUAL
        if _cut_off(result, row, trade):
            return CUT_OFF
        if _opens_beyond(result, row, trade):
            return GAP
        if _both_levels(result, row):
            return BOTH_LEVELS
    return FOLLOWS if differed else UNEXPLAINED


def _same(row: dict[str, Any], trade: EngineTrade, end: str) -> bool:
    bar, price = getattr(trade, f"{end}_bar"), getattr(trade, f"{end}_price")
    if end == "entry" and (
        row["side"] != trade.side or abs(row["quantity"] - trade.quantity) > TOLERANCE
    ):
        return False
    return bool(bar == row[f"{end}_bar"] and abs(price - row[f"{end}_price"]) <= TOLERANCE)


def _both_levels(result: BacktestResult, row: dict[str, Any]) -> bool:
    bars = result.history.bars
    low, high = (float(column[int(row["exit_bar"])]) for column in (bars.low, bars.high))
    stop, target = float(row["stop"]), float(row["target"])
    return low <= min(stop, target) and max(stop, target) <= high


def _opens_beyond(result: BacktestResult, row: dict[str, Any], trade: EngineTrade) -> bool:
    """Return whether ours filled at the open and theirs at the level, on the same bar."""
    if trade.exit_bar != row["exit_bar"] or row["exit_reason"] == "session_end":
        return False
    open_ = float(result.history.bars.open[int(row["exit_bar"])])
    for name in ("stop", "target"):
        down = (name == "stop") == (row["side"] == "long")
        beyond = open_ < row[name] if down else open_ > row[name]
        if beyond and abs((trade.exit_price or 0.0) - row[name]) <= TOLERANCE:
            return True
    return False


def _cut_off(result: BacktestResult, row: dict[str, Any], trade: EngineTrade) -> bool:
    """Return whether theirs was closed at the open of the session after ours."""
    bar = row["exit_bar"]
    if row["exit_reason"] != "session_end" or trade.exit_bar != bar + 1:
        return False
    open_ = float(result.history.bars.open[bar + 1])
    return abs((trade.exit_price or 0.0) - open_) <= TOLERANCE


def _bar(times: Any, time_s: float) -> int:
    """Return the bar during which a moment lies; the end of a bar belongs to it."""
    return int(np.searchsorted(times, time_s, side="right")) - 1

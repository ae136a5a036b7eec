"""The report's plots as plain plotly.js descriptions: lists of traces and a layout."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.evaluate import Evaluation, Run
from rllib_tactical.backtest.metrics import daily_pnl
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.types import FloatArray, IntArray

Figure = dict[str, Any]

MAX_POINTS: Final = 3_000
CANDLES: Final = 240

COLOURS: Final = {
    "policy": "#1d4ed8",
    "always_hold": "#9ca3af",
    "buy_and_hold": "#d97706",
    "random": "#a855f7",
    "rule_based": "#0d9488",
}
UP, DOWN, NEUTRAL = "#15803d", "#b91c1c", "#6b7280"


def equity_figure(evaluation: Evaluation) -> Figure:
    """Return equity of all policies above, drawdown from the peak below, over the same bars."""
    policy = evaluation.policy.result
    local = _local_times(policy)
    traces: list[Figure] = []
    for run in reversed(evaluation.runs):  # the policy is drawn last, on top
        equity = run.result.equity["equity"].to_numpy()
        rows = thin(equity)
        peak = np.maximum.accumulate(equity)
        style = {
            "x": rows.tolist(),
            "name": run.label,
            "legendgroup": run.name,
            "type": "scatter",
            "mode": "lines",
            "line": {"color": _colour(run), "width": 2.2 if run.name == "policy" else 1.2},
            "text": [local[row] for row in rows],
        }
        traces.append(
            style
            | {
                "y": _rounded(equity[rows] - policy.initial_equity, 2),
                "hovertemplate": "%{text}<br>%{y:$,.0f}",
                "legendrank": 1 if run.name == "policy" else 2,
            }
        )
        traces.append(
            style
            | {
                "y": _rounded(-100.0 * (peak - equity)[rows] / peak[rows], 4),
                "yaxis": "y2",
                "showlegend": False,
                "hovertemplate": "%{text}<br>%{y:.2f}%",
            }
        )
    layout = {
        "height": 460,
        "xaxis": _bar_axis(local, 9) | {"anchor": "y2"},
        "yaxis": {"domain": [0.36, 1.0], "title": {"text": "P&L, $"}, "zeroline": True},
        "yaxis2": {"domain": [0.0, 0.28], "title": {"text": "drawdown, %"}},
        "legend": {"orientation": "h", "y": 1.1},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def candle_figure(result: BacktestResult) -> tuple[Figure, str]:
    """Return candles with trades of a recent span, and a line that says which span.

    The x axis counts bars, so that nights and weekends take no room.
    """
    first, last = _recent_span(result)
    bars, bar = result.tape.bars, np.arange(first, last + 1)
    local = _local_times(result)[first - result.start : last + 1 - result.start]
    trades = result.trades
    inside = trades[(trades["exit_bar"] >= first) & (trades["entry_bar"] <= last)]
    traces: list[Figure] = [
        {
            "type": "candlestick",
            "x": bar.tolist(),
            **{
                name: getattr(bars, name)[bar].tolist() for name in ("open", "high", "low", "close")
            },
            "text": local,
            "name": result.tape.instrument.symbol,
            "increasing": {"line": {"color": UP, "width": 1}},
            "decreasing": {"line": {"color": DOWN, "width": 1}},
            "showlegend": False,
        },
        _levels(inside, "stop", DOWN, first, last),
        _levels(inside, "target", UP, first, last),
        *_entry_markers(inside),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "exit",
            "x": inside["exit_bar"].tolist(),
            "y": inside["exit_price"].tolist(),
            "text": [
                f"exit: {reason}<br>P&L ${pnl:,.2f}"
                for reason, pnl in zip(inside["exit_reason"], inside["pnl"], strict=True)
            ],
            "hovertemplate": "%{text}<br>%{y}<extra></extra>",
            "marker": {"symbol": "x", "size": 9, "color": "#111827"},
        },
    ]
    layout = {
        "height": 470,
        "xaxis": _bar_axis(local, 10, offset=first)
        | {"rangeslider": {"visible": False}, "range": [first - 1, last + 1]},
        "yaxis": {"title": {"text": "price"}},
        "legend": {"orientation": "h", "y": 1.1},
    }
    shown = "trade" if len(inside) == 1 else "trades"
    return {"data": traces, "layout": layout}, f"{local[0]} to {local[-1]}, {len(inside)} {shown}"


def session_figure(result: BacktestResult) -> Figure:
    """Return the P&L of every session."""
    daily = daily_pnl(result)
    pnl = daily["pnl"].to_numpy()
    return {
        "data": [
            {
                "type": "bar",
                "x": np.arange(len(daily)).tolist(),
                "y": _rounded(pnl, 2),
                "text": daily["date"].tolist(),
                "textposition": "none",
                "customdata": daily["trades"].tolist(),
                "hovertemplate": "%{text}<br>%{y:$,.2f}, %{customdata} trades<extra></extra>",
                "marker": {"color": np.where(pnl >= 0, UP, DOWN).tolist()},
            }
        ],
        "layout": {
            "height": 300,
            "xaxis": _bar_axis(daily["date"].tolist(), 6),
            "yaxis": {"title": {"text": "P&L, $"}},
            "bargap": 0.1,
        },
    }


def hour_figure(result: BacktestResult) -> Figure:
    """Return the P&L of trades by the local hour of their entry."""
    trades = result.trades
    hour = trades["entry_time"].dt.tz_convert(result.tape.instrument.timezone).dt.hour
    grouped = trades["pnl"].groupby(hour).agg(["sum", "count"])
    pnl = grouped["sum"].to_numpy()
    return _named_bars([f"{h:02d}:00" for h in grouped.index], pnl, grouped["count"].tolist())


def exit_figure(result: BacktestResult) -> Figure:
    """Return the P&L of trades by the reason of their exit."""
    trades = result.trades
    grouped = trades["pnl"].groupby(trades["exit_reason"]).agg(["sum", "count"])
    names = [str(name).replace("_", " ") for name in grouped.index]
    return _named_bars(names, grouped["sum"].to_numpy(), grouped["count"].tolist())


def thin(values: FloatArray, limit: int = MAX_POINTS) -> IntArray:
    """Return rows (R,) that keep the first, the last and the extremes of every stretch of values.

    At most about ``limit`` rows; all of them when there are no more.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, limit // 2 + 1).astype(np.int64)
    rows = [0, count - 1]
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        rows += [first + int(part.argmin()), first + int(part.argmax())]
    return np.unique(np.array(rows, dtype=np.int64))


def _named_bars(names: list[str], pnl: FloatArray, counts: list[int]) -> Figure:
    return {
        "data": [
            {
                "type": "bar",
                "x": names,
                "y": _rounded(pnl, 2),
                "text": [f"{count:,}" for count in counts],
                "textposition": "auto",
                "hovertemplate": "%{x}<br>%{y:$,.2f}, %{text} trades<extra></extra>",
                "marker": {"color": np.where(pnl >= 0, UP, DOWN).tolist()},
            }
        ],
        "layout": {
            "height": 300,
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "P&L, $"}},
        },
    }


def _recent_span(result: BacktestResult) -> tuple[int, int]:
    """Return the first and last bar of the sessions around the last trades, 240 bars at most."""
    last = result.stop - 1
    if len(result.trades):
        session = result.tape.sessions.session_id
        exit_bar = int(result.trades["exit_bar"].iloc[-1])
        inside = np.flatnonzero(session[: result.stop] == session[exit_bar])
        last = min(int(inside[-1]), exit_bar + CANDLES // 4)
    first = max(result.start, last - CANDLES + 1)
    return first, last


def _levels(trades: pd.DataFrame, name: str, colour: str, first: int, last: int) -> Figure:
    x: list[int | None] = []
    y: list[float | None] = []
    rows = zip(trades["entry_bar"], trades["exit_bar"], trades[name], strict=True)
    for entry_bar, exit_bar, price in rows:
        # half a bar to both sides, so that a trade of one bar shows its levels too
        x += [max(entry_bar, first) - 0.5, min(exit_bar, last) + 0.5, None]
        y += [price, price, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "width": 1.4, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _entry_markers(trades: pd.DataFrame) -> list[Figure]:
    traces: list[Figure] = []
    for side, symbol, colour in (("long", "triangle-up", UP), ("short", "triangle-down", DOWN)):
        part = trades[trades["side"] == side]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{side} entry",
                "x": part["entry_bar"].tolist(),
                "y": part["entry_price"].tolist(),
                "text": [
                    f"{side} {quantity:g}, confidence {score:.2f}"
                    for quantity, score in zip(part["quantity"], part["score"], strict=True)
                ],
                "hovertemplate": "%{text}<br>%{y}<extra></extra>",
                "marker": {
                    "symbol": symbol,
                    "size": 13,
                    "color": colour,
                    "line": {"color": "#ffffff", "width": 1},
                },
            }
        )
    return traces


def _bar_axis(labels: list[str], count: int, offset: int = 0) -> dict[str, Any]:
    """Return an axis that counts bars and is labelled with times."""
    rows = np.unique(np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int))
    return {
        "type": "linear",
        "tickvals": (rows + offset).tolist(),
        "ticktext": [labels[row] for row in rows],
        "tickangle": 0,
        "tickfont": {"size": 10},
        "showgrid": False,
        "zeroline": False,
    }


def _local_times(result: BacktestResult) -> list[str]:
    local = result.equity["timestamp"].dt.tz_convert(result.tape.instrument.timezone)
    return [str(time) for time in local.dt.strftime("%Y-%m-%d %H:%M")]


def _rounded(values: FloatArray, digits: int) -> list[float]:
    plain: list[float] = np.round(values, digits).tolist()
    return plain


def _colour(run: Run) -> str:
    return COLOURS.get(run.name, "#db2777")

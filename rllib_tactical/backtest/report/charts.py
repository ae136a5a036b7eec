"""Equity and candles as plain plotly.js descriptions: lists of traces and a layout."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.features.fvg import GapZone, gap_zones
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.reporting.plots import DOWN, UP, Plot, bar_axis, rounded, thin

CANDLES: Final = 240

COLORS: Final = {
    "policy": "#1d4ed8",
    "no_trades": "#9ca3af",
    "buy_and_hold": "#d97706",
    "buy_and_hold_days": "#ca8a04",
    "always_long": "#65a30d",
    "random": "#a855f7",
    "rule_based": "#0d9488",
    "oracle": "#db2777",
}
OTHER: Final = "#60a5fa"


def equity_plot(comparison: Comparison) -> Plot:
    """Return equity of all policies above, drawdown from the peak below, over the same bars."""
    curves = [
        (run.name, run.label, run.result.equity["equity"].to_numpy()) for run in comparison.runs
    ]
    return equity_curves(curves, local_times(comparison.policy.result))


def equity_curves(curves: list[tuple[str, str, FloatArray]], labels: list[str]) -> Plot:
    """Return curves above and their drawdowns from the peak below; the first is the policy's.

    Args:
        curves: name, label and equity (K,) in dollars.
        labels: K times as texts.
    """
    traces: list[Plot] = []
    for name, label, equity in reversed(curves):  # the policy is drawn last, on top
        rows, policy = thin(equity), name == curves[0][0]
        peak = np.maximum.accumulate(equity)
        style = {
            "x": rows.tolist(),
            "name": label,
            "legendgroup": name,
            "type": "scatter",
            "mode": "lines",
            "line": {"color": COLORS.get(name, OTHER), "width": 2.2 if policy else 1.2},
            "text": [labels[row] for row in rows],
        }
        traces.append(
            style
            | {
                "y": rounded(equity[rows] - equity[0], 2),
                "hovertemplate": "%{text}<br>%{y:$,.0f}",
                "legendrank": 1 if policy else 2,
            }
        )
        traces.append(
            style
            | {
                "y": rounded(-100.0 * (peak - equity)[rows] / peak[rows], 4),
                "yaxis": "y2",
                "showlegend": False,
                "hovertemplate": "%{text}<br>%{y:.2f}%",
            }
        )
    gains = [equity - equity[0] for _, _, equity in curves]
    ends = [min(float(gain.min()) for gain in gains), max(float(gain.max()) for gain in gains)]
    capital = float(curves[0][2][0])
    traces.append(  # draws nothing, but gives the axis in percent the range of the one in dollars
        {
            "x": [0, 0],
            "y": [100.0 * end / capital for end in ends],
            "yaxis": "y3",
            "type": "scatter",
            "mode": "lines",
            "opacity": 0,
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    layout = {
        "height": 460,
        "margin": {"l": 64, "r": 56, "t": 24, "b": 36},
        "xaxis": bar_axis(labels, 9) | {"anchor": "y2"},
        "yaxis": {"domain": [0.36, 1.0], "title": {"text": "P&L, $"}, "zeroline": True},
        "yaxis2": {"domain": [0.0, 0.28], "title": {"text": "drawdown, %"}},
        "yaxis3": {
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "title": {"text": "% of capital"},
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def candle_plot(result: BacktestResult) -> tuple[Plot, str]:
    """Return candles with gaps and trades of a recent span, and a line that says which span.

    The x axis counts bars, so that nights and weekends take no room.
    """
    first, last = _recent_span(result)
    bars, bar = result.history.bars, np.arange(first, last + 1)
    local = local_times(result)[first - result.start : last + 1 - result.start]
    trades = result.trades
    inside = trades[(trades["exit_bar"] >= first) & (trades["entry_bar"] <= last)]
    traces: list[Plot] = [
        {
            "type": "candlestick",
            "x": bar.tolist(),
            **{
                name: getattr(bars, name)[bar].tolist() for name in ("open", "high", "low", "close")
            },
            "text": local,
            "name": result.history.instrument.symbol,
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
        "xaxis": bar_axis(local, 10, offset=first)
        | {"rangeslider": {"visible": False}, "range": [first - 1, last + 1]},
        "yaxis": {"title": {"text": "price"}},
        "legend": {"orientation": "h", "y": 1.1},
        "shapes": [_zone(gap, first, last) for gap in _zones(result, first, last)],
    }
    shown = "trade" if len(inside) == 1 else "trades"
    return {"data": traces, "layout": layout}, f"{local[0]} to {local[-1]}, {len(inside)} {shown}"


def _zones(result: BacktestResult, first: int, last: int) -> list[GapZone]:
    history = result.history
    return gap_zones(history.bars, history.features.birth, first, last)


def _zone(gap: GapZone, first: int, last: int) -> Plot:
    return {
        "type": "rect",
        "layer": "below",
        "x0": max(gap.born, first) - 0.5,
        "x1": min(gap.last, last) + 0.5,
        "y0": gap.low,
        "y1": gap.high,
        "fillcolor": UP if gap.bullish else DOWN,
        "opacity": 0.13,
        "line": {"width": 0},
    }


def _recent_span(result: BacktestResult) -> tuple[int, int]:
    """Return the first and last bar of the sessions around the last trades, 240 bars at most."""
    last = result.stop - 1
    if len(result.trades):
        session = result.history.sessions.session_id
        exit_bar = int(result.trades["exit_bar"].iloc[-1])
        inside = np.flatnonzero(session[: result.stop] == session[exit_bar])
        last = min(int(inside[-1]), exit_bar + CANDLES // 4)
    first = max(result.start, last - CANDLES + 1)
    return first, last


def _levels(trades: pd.DataFrame, name: str, color: str, first: int, last: int) -> Plot:
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
        "line": {"color": color, "width": 1.4, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _entry_markers(trades: pd.DataFrame) -> list[Plot]:
    traces: list[Plot] = []
    for side, symbol, color in (("long", "triangle-up", UP), ("short", "triangle-down", DOWN)):
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
                    "color": color,
                    "line": {"color": "#ffffff", "width": 1},
                },
            }
        )
    return traces


def local_times(result: BacktestResult) -> list[str]:
    """Return the open times of the bars (K) in the instrument's time zone."""
    local = result.equity["timestamp"].dt.tz_convert(result.history.instrument.timezone)
    return [str(time) for time in local.dt.strftime("%Y-%m-%d %H:%M")]

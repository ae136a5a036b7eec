"""What the trades and the days of a backtest say, as plain plotly.js descriptions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np

from rllib_tactical.backtest.metrics import annual_days, daily_pnl, result_accuracies
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.targets import TARGETS, Target
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.reporting.plots import DOWN, NEUTRAL, UP, Plot, bar_axis, rounded, thin
from rllib_tactical.statistics.calibration import JUDGES, calibration_table

HEIGHT: Final = 300
ROLLING_DAYS: Final = 63
"""Most days of the rolling Sharpe ratio: a quarter of a year."""

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOLDING_EDGES: Final = (1, 2, 3, 4, 6, 9, 13, 19, 28, 40, 60)
"""First bars of the bins of holding times."""

AGENT_COLORS: Final = {
    "fvg": "#0d9488",
    "momentum": "#d97706",
    "entry": "#a855f7",
    "ensemble": "#1d4ed8",
}


def session_plot(result: BacktestResult) -> Plot:
    """Return the P&L of every session."""
    daily = daily_pnl(result)
    pnl = daily["pnl"].to_numpy()
    return {
        "data": [
            {
                "type": "bar",
                "x": np.arange(len(daily)).tolist(),
                "y": rounded(pnl, 2),
                "text": daily["date"].tolist(),
                "textposition": "none",
                "customdata": daily["trades"].tolist(),
                "hovertemplate": "%{text}<br>%{y:$,.2f}, %{customdata} trades<extra></extra>",
                "marker": {"color": np.where(pnl >= 0, UP, DOWN).tolist()},
            }
        ],
        "layout": {
            "height": HEIGHT,
            "xaxis": bar_axis(daily["date"].tolist(), 6),
            "yaxis": {"title": {"text": "P&L, $"}},
            "bargap": 0.1,
        },
    }


def hour_plot(result: BacktestResult) -> Plot:
    """Return the P&L of trades by the local hour of their entry."""
    trades = result.trades
    hour = trades["entry_time"].dt.tz_convert(result.history.instrument.timezone).dt.hour
    grouped = trades["pnl"].groupby(hour).agg(["sum", "count"])
    pnl = grouped["sum"].to_numpy()
    return _named_bars([f"{h:02d}:00" for h in grouped.index], pnl, grouped["count"].tolist())


def weekday_plot(result: BacktestResult) -> Plot:
    """Return the P&L of trades by the local weekday of their entry."""
    trades = result.trades
    day = trades["entry_time"].dt.tz_convert(result.history.instrument.timezone).dt.day_of_week
    grouped = trades["pnl"].groupby(day).agg(["sum", "count"])
    names = [WEEKDAYS[int(number)] for number in grouped.index]
    return _named_bars(names, grouped["sum"].to_numpy(), grouped["count"].tolist())


def exit_plot(result: BacktestResult) -> Plot:
    """Return the P&L of trades by the reason of their exit."""
    trades = result.trades
    grouped = trades["pnl"].groupby(trades["exit_reason"]).agg(["sum", "count"])
    names = [str(name).replace("_", " ") for name in grouped.index]
    return _named_bars(names, grouped["sum"].to_numpy(), grouped["count"].tolist())


def holding_plot(result: BacktestResult) -> Plot:
    """Return how long winning and losing trades were held, in bars."""
    trades = result.trades
    edges = [*HOLDING_EDGES, math.inf]
    names = [
        f"{a}" if b - a == 1 else f"{a}+" if math.isinf(b) else f"{a}-{b - 1}"
        for a, b in pairwise(edges)
    ]
    won = trades["pnl"].to_numpy() > 0
    held = trades["bars_held"].to_numpy()
    data = [
        {
            "type": "bar",
            "name": name,
            "x": names,
            "y": np.histogram(held[part], edges)[0].tolist(),
            "hovertemplate": "%{x} bars: %{y} trades",
            "marker": {"color": color},
        }
        for name, part, color in (("won", won, UP), ("lost", ~won, DOWN))
    ]
    layout = {
        "height": HEIGHT,
        "barmode": "stack",
        "xaxis": {"type": "category", "title": {"text": "bars held"}},
        "yaxis": {"title": {"text": "trades"}},
        "legend": {"orientation": "h", "y": 1.12},
    }
    return {"data": data, "layout": layout}


def accuracy_plot(result: BacktestResult, targets: tuple[Target, ...] = TARGETS) -> Plot:
    """Return the share of right votes by agent, beside target and critical value."""
    found = result_accuracies((result,))
    limits = {target.name: target for target in targets}
    names = [name for name in JUDGES if found[name] is not None]
    lines = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label,
            "x": names,
            "y": [100.0 * getattr(limits[f"accuracy_{name}"], label) for name in names],
            "marker": {"symbol": "line-ew-open", "size": 46, "line": {"width": 2}, "color": color},
            "hovertemplate": f"{label} %{{y:.0f}}%<extra></extra>",
        }
        for label, color in (("target", UP), ("critical", DOWN))
    ]
    bars = {
        "type": "bar",
        "x": names,
        "y": [round(100.0 * (found[name] or 0.0), 2) for name in names],
        "hovertemplate": "%{x} %{y:.1f}%<extra></extra>",
        "marker": {"color": [AGENT_COLORS[name] for name in names]},
        "showlegend": False,
    }
    layout = {
        "height": HEIGHT,
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": "right votes, %"}, "range": [0, 100]},
        "legend": {"orientation": "h", "y": 1.12},
    }
    return {"data": [bars, *lines], "layout": layout}


def calibration_plot(result: BacktestResult) -> Plot:
    """Return the share of right votes by confidence; on the diagonal confidence is honest."""
    table = calibration_table(result.trades)
    data: list[Plot] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 100],
            "y": [0, 100],
            "line": {"color": NEUTRAL, "dash": "dot", "width": 1},
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]
    for name in JUDGES:
        part = table[table["judge"] == name].sort_values("confidence")
        count = part["count"].to_numpy()
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": rounded(100.0 * part["confidence"].to_numpy(), 2),
                "y": rounded(100.0 * part["right"].to_numpy(), 2),
                "text": [f"{number:,} trades" for number in count],
                "hovertemplate": "confidence %{x:.0f}%: %{y:.0f}% right, %{text}",
                "line": {"color": AGENT_COLORS[name], "width": 1.5},
                "marker": {"size": np.clip(3.0 + np.sqrt(count), 4, 18).tolist()},
            }
        )
    layout = {
        "height": HEIGHT,
        "xaxis": {"title": {"text": "confidence, %"}, "range": [25, 103]},
        "yaxis": {"title": {"text": "right votes, %"}, "range": [-3, 103]},
        "legend": {"orientation": "h", "y": 1.12},
    }
    return {"data": data, "layout": layout}


def cost_plot(result: BacktestResult) -> Plot:
    """Return the trades' P&L before costs, their costs and what is left, added up."""
    trades = result.trades
    net, costs = trades["pnl"].cumsum().to_numpy(), trades["costs"].cumsum().to_numpy()
    rows = thin(net)
    lines = (("before costs", net + costs, UP), ("costs", -costs, DOWN), ("net", net, "#1d4ed8"))
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": (rows + 1).tolist(),
            "y": rounded(values[rows], 2),
            "line": {"color": color, "width": 1.6},
            "hovertemplate": "trade %{x}: %{y:$,.0f}",
        }
        for name, values, color in lines
    ]
    layout = {
        "height": HEIGHT,
        "xaxis": {"title": {"text": "trades"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "sum, $"}},
        "legend": {"orientation": "h", "y": 1.12},
    }
    return {"data": data, "layout": layout}


def rolling_days(days: float) -> int:
    """Return how far back the rolling ratio of so many days looks: a third, 2 to ROLLING_DAYS."""
    return max(2, min(ROLLING_DAYS, int(days) // 3))


def rolling_sharpe(result: BacktestResult, days: int = ROLLING_DAYS) -> FloatArray:
    """Return the annualized Sharpe ratio of the last ``days`` daily returns at each day (D,).

    NaN before that many days have passed and where returns do not vary.
    """
    daily = daily_pnl(result)
    returns = daily["return"]
    window = returns.rolling(days)
    deviation = window.std()
    ratio = window.mean() / deviation.where(deviation > 1e-12 * returns.abs().max())
    return np.asarray(ratio.to_numpy() * math.sqrt(annual_days((result,))), dtype=np.float64)


def rolling_sharpe_plot(result: BacktestResult) -> Plot:
    """Return the Sharpe ratio of the last ``rolling_days`` sessions at each session."""
    daily = daily_pnl(result)
    ratio = rolling_sharpe(result, rolling_days(len(daily)))
    dates = daily["date"].tolist()
    target = next(target for target in TARGETS if target.name == "sharpe")
    data: list[Plot] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": np.arange(len(dates)).tolist(),
            "y": [None if math.isnan(value) else round(value, 3) for value in ratio.tolist()],
            "text": dates,
            "hovertemplate": "%{text}: %{y:.2f}<extra></extra>",
            "line": {"color": "#1d4ed8", "width": 1.6},
            "showlegend": False,
        }
    ]
    shapes = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": value,
            "y1": value,
            "line": {"color": color, "width": 1, "dash": "dot"},
        }
        for value, color in ((target.target, UP), (target.critical, DOWN))
    ]
    layout = {
        "height": HEIGHT,
        "xaxis": bar_axis(dates, 6) | {"range": [0, max(1, len(dates) - 1)]},
        "yaxis": {"title": {"text": "Sharpe ratio"}},
        "shapes": shapes,
    }
    return {"data": data, "layout": layout}


def _named_bars(names: list[str], pnl: FloatArray, counts: list[int]) -> Plot:
    return {
        "data": [
            {
                "type": "bar",
                "x": names,
                "y": rounded(pnl, 2),
                "text": [f"{count:,}" for count in counts],
                "textposition": "auto",
                "hovertemplate": "%{x}<br>%{y:$,.2f}, %{text} trades<extra></extra>",
                "marker": {"color": np.where(pnl >= 0, UP, DOWN).tolist()},
            }
        ],
        "layout": {
            "height": HEIGHT,
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "P&L, $"}},
        },
    }

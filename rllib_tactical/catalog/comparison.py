"""Records side by side: what differs in their settings, their metrics, their equity curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.verdict import metric_text
from rllib_tactical.catalog.records import METRICS, Record
from rllib_tactical.reporting.format import NOTHING
from rllib_tactical.reporting.html import render_page
from rllib_tactical.reporting.plots import Plot, rounded, thin

COLORS: Final = ("#1d4ed8", "#d97706", "#0d9488", "#db2777", "#65a30d", "#a855f7", "#6b7280")


def names_of(records: Sequence[Record]) -> list[str]:
    """Return a short name for each: its folder, with as much before it as tells them apart."""
    parts = [record.path.absolute().parts for record in records]
    deepest = max((len(each) for each in parts), default=1)
    for count in range(1, deepest + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def differences(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all records: values by key, None: not set.

    Settings that only some kinds of record have, such as the rules of a backtest beside those of a
    run, are compared among those that have them.
    """
    keys = dict.fromkeys(key for record in records for key in record.settings)
    found = {}
    for key in keys:
        values = [record.settings.get(key) for record in records]
        present = [record.settings[key] for record in records if key in record.settings]
        kinds = {record.kind for record in records if key in record.settings}
        missing = [r for r in records if r.kind in kinds and key not in r.settings]
        if missing or any(value != present[0] for value in present):
            found[key] = values
    return found


def setting_text(value: Any) -> str:
    """Return a setting as text: a missing one as a dash, a hash by its first digits."""
    if value is None:
        return NOTHING
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}(-dirty)?", value):
        return value[:12] + value[40:] * value.endswith("-dirty")
    return f"{value:g}" if isinstance(value, float) else str(value)


def metric_cells(record: Record) -> list[str]:
    """Return the record's metrics as texts in the order of ``METRICS``."""
    return [metric_text(name, record.metrics.get(name)) for name in METRICS]


def equity_plot(records: Sequence[Record]) -> Plot | None:
    """Return the equity curves over each other, each less its first value; None without any."""
    names, traces = names_of(records), []
    for number, (name, record) in enumerate(zip(names, records, strict=True)):
        if record.equity is None:
            continue
        table = pd.read_parquet(record.equity)
        if "part" in table:
            table = _summed(table)
        equity = table["equity"].to_numpy(np.float64)
        rows = thin(equity)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": table["timestamp"].dt.strftime("%Y-%m-%d %H:%M").iloc[rows].tolist(),
                "y": rounded(equity[rows] - equity[0], 2),
                "line": {"color": COLORS[number % len(COLORS)], "width": 1.6},
                "hovertemplate": "%{x}<br>%{y:$,.0f}",
            }
        )
    if not traces:
        return None
    layout = {
        "height": 460,
        "yaxis": {"title": {"text": "P&L, $"}, "zeroline": True},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}


def render_comparison(records: Sequence[Record]) -> str:
    """Return the comparison as one HTML document."""
    names, plot = names_of(records), equity_plot(records)
    differing = differences(records)
    return render_page(
        "rllib_tactical.catalog",
        "comparison.html.j2",
        {} if plot is None else {"equity": plot},
        title=f"Comparison of {len(records)} results",
        names=names,
        records=[
            {
                "name": name,
                "kind": record.kind,
                "symbols": record.symbols,
                "written": f"{record.written:%Y-%m-%d %H:%M}",
                "state": record.state,
                "metrics": metric_cells(record),
            }
            for name, record in zip(names, records, strict=True)
        ],
        metrics=list(METRICS.values()),
        settings=[
            {"key": key, "values": [setting_text(value) for value in values]}
            for key, values in differing.items()
        ],
        has_equity=plot is not None,
        facts=(),
    )


def _summed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sum of the equity of several accounts at every time of any of them."""
    wide = table.pivot_table(index="timestamp", columns="part", values="equity").sort_index()
    total = wide.ffill().bfill().sum(axis=1)
    return total.rename("equity").reset_index()

"""The report of drift as rows for a table and as one HTML page."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from rllib_tactical.monitoring.monitor import DriftReport, date_of
from rllib_tactical.monitoring.profile import DriftProfile
from rllib_tactical.monitoring.sums import BEHAVIOR, INPUT, OUTCOME
from rllib_tactical.reporting.format import NOTHING
from rllib_tactical.reporting.html import render_page
from rllib_tactical.reporting.plots import Plot, rounded

_COLORS: Final = {INPUT: "#1d4ed8", BEHAVIOR: "#d97706", OUTCOME: "#0d9488"}


def table_rows(report: DriftReport) -> list[dict[str, Any]]:
    """Return the readings as texts, the farthest from what is usual first."""
    ordered = sorted(report.readings, key=lambda reading: -reading.ratio)
    return [
        {
            "group": each.group,
            "statistic": each.statistic,
            "window": str(each.window),
            "value": NOTHING if each.value is None else f"{each.value:.4g}",
            "threshold": f"{each.threshold:.4g}",
            "ratio": NOTHING if each.value is None else f"{each.ratio:.2f}",
            "alarm": each.alarm,
        }
        for each in ordered
    ]


def drift_plot(report: DriftReport) -> Plot | None:
    """Return the largest ratio of each group after each session; None without sessions."""
    if not len(report.session):
        return None
    days = [date_of(session) for session in report.session]
    groups = np.array([reading.group for reading in report.readings])
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": group,
            "x": days,
            "y": rounded(np.nan_to_num(report.ratios[:, groups == group]).max(axis=1), 3),
            "line": {"color": color, "width": 1.6},
        }
        for group, color in _COLORS.items()
        if (groups == group).any()
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "alarm",
            "x": [days[0], days[-1]],
            "y": [1.0, 1.0],
            "line": {"color": "#b91c1c", "width": 1, "dash": "dot"},
        }
    )
    layout = {
        "height": 360,
        "yaxis": {"title": {"text": "ratio to threshold"}, "rangemode": "tozero"},
    }
    return {"data": traces, "layout": layout}


def render_drift(report: DriftReport, profile: DriftProfile) -> str:
    """Return the report as one HTML document."""
    plot = drift_plot(report)
    return render_page(
        "rllib_tactical.monitoring",
        "drift.html.j2",
        {} if plot is None else {"drift": plot},
        title=f"Drift of {report.symbol} from bundle {report.bundle_id[:12]}",
        words=report.words,
        false_alarms=f"{report.false_alarms:g}",
        readings=table_rows(report),
        has_plot=plot is not None,
        facts=tuple(
            (f"reference: {name}", str(value)) for name, value in profile.reference.items()
        ),
    )

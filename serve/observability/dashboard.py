"""The Grafana dashboard of the service, made of its panels.

``python -m serve.observability.dashboard > deploy/grafana/dashboards/tactical.json`` writes it.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from serve.observability.panels import ROWS, Panel

SCHEMA_VERSION: Final = 39
"""Of Grafana's classic model of dashboards, which Grafana 10.3 and later read."""

WIDTH: Final = 24
HEIGHT: Final = 8
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's classic model."""
    made: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        made.append({"type": "row", "title": title, "collapsed": False, "gridPos": place})
        made[-1] |= {"id": len(made), "panels": []}
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            place = {"h": HEIGHT, "w": panel.width, "x": x, "y": y}
            made.append({"id": len(made) + 1, "gridPos": place, **_shown(panel)})
            x += panel.width
        y += HEIGHT
    return {
        "uid": "tactical",
        "title": "Tactical",
        "tags": ["tactical"],
        "timezone": "utc",
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _VARIABLES},
        "panels": made,
    }


def _shown(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.nothing:
        defaults["noValue"] = panel.nothing
    if panel.kind == "timeseries" and panel.limit is not None:
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    instant = panel.kind != "timeseries"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend or panel.title,
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if panel.kind == "table" else {}),
        }
        for number, query in enumerate(panel.queries)
    ]
    shown = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }
    if panel.kind == "stat":
        shown["options"] = {
            "textMode": "value_and_name",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
    return shown


_VARIABLES: Final[list[dict[str, Any]]] = [
    {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    },
    {
        "name": "symbol",
        "label": "Symbol",
        "type": "query",
        "datasource": _SOURCE,
        "definition": "label_values(tactical_equity_dollars, symbol)",
        "query": {"query": "label_values(tactical_equity_dollars, symbol)", "refId": "symbol"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    },
]


def dashboard_json() -> str:
    """Return the file of the dashboard."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dashboard_json())

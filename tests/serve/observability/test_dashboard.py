"""The shipped dashboard is that of the panels, laid out for Grafana."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import yaml

from serve.observability.dashboard import WIDTH, dashboard, dashboard_json
from serve.observability.panels import ROWS, panels

GRAFANA = "deploy/grafana"


def test_the_shipped_dashboard_is_that_of_the_panels(project_root: Path) -> None:
    shipped = (project_root / GRAFANA / "dashboards/tactical.json").read_text(encoding="utf-8")
    assert shipped == dashboard_json(), "python -m serve.observability.dashboard writes it"


def test_every_panel_asks_its_queries_and_turns_red_at_its_limit() -> None:
    shown = [each for each in dashboard()["panels"] if each["type"] != "row"]
    assert [each["title"] for each in shown] == [panel.title for panel in panels()]
    for each, panel in zip(shown, panels(), strict=True):
        asked = [target["expr"] for target in each["targets"]]
        assert asked == [query.expression for query in panel.queries]
        assert all(target["legendFormat"] for target in each["targets"])
        assert len({target["refId"] for target in each["targets"]}) == len(asked)
        defaults = each["fieldConfig"]["defaults"]
        red = [step["value"] for step in defaults["thresholds"]["steps"] if step["color"] == "red"]
        assert red == ([] if panel.limit is None else [panel.limit])
        assert defaults.get("noValue", "") == panel.nothing


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    placed = dashboard()["panels"]
    assert len({each["id"] for each in placed}) == len(placed)
    assert [each["title"] for each in placed if each["type"] == "row"] == list(ROWS)
    for one, other in itertools.combinations([each["gridPos"] for each in placed], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(each["gridPos"]["x"] + each["gridPos"]["w"] <= WIDTH for each in placed)


def test_grafana_is_told_where_prometheus_and_the_dashboard_are(project_root: Path) -> None:
    folder = project_root / GRAFANA / "provisioning"
    sources = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text(encoding="utf-8"))
    (source,) = sources["datasources"]
    (variable, _) = json.loads(dashboard_json())["templating"]["list"]
    assert source["type"] == variable["query"] == "prometheus"
    scrape = project_root / "deploy/prometheus/prometheus.yaml"
    interval = yaml.safe_load(scrape.read_text(encoding="utf-8"))["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval

"""A real Prometheus scrapes the real service: every query has data, rules fire and clear."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.observability.panels import panels
from serve.observability.rules import rules
from tests.ports import ports_of_serve
from tests.serve.observability.prometheus import program, wait_for
from tests.serve.observability.watched import REPLAYED, SYMBOLS, Watched, post, watched
from tests.serve.writes import bars_body

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SPEED = float(os.environ.get("WATCH_SPEED", "15"))
"""How much faster than shipped Prometheus scrapes and alerts; 1 measures the table in the docs."""


WITHOUT_SERIES = {
    "tactical_left_out_lots",
    'tactical_experiment_difference_ratio{symbol=~"$symbol"}',
}
"""Queries of panels that rightly find nothing here: every symbol of the state has a bundle, and no
session of the service ends while it runs."""


OVERRIDE = "TacticalOverride: 1 firing"


@pytest.fixture(scope="module")
def scene(
    project_root: Path,
    bundle: Bundle,
    table: FeatureTable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    program("prometheus", "prometheus")
    program("prometheus-alertmanager", "prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("watched")
    with ports_of_serve(), watched(project_root, folder, bundle, table, SPEED) as found:
        current, late = SYMBOLS
        found.feed(current, age_s=300.0)
        found.decide(current)
        found.feed(current)  # accounts on paper begin with a bar after a decision
        found.feed(late, age_s=2 * 3600.0)
        found.timeline.caused("bars_overdue", severity="critical")
        post(found.replay, "/bars", bars_body(0, 400, REPLAYED))
        found.decided_trade()
        found.drift(alarms=0)
        yield found


def test_every_target_is_up(scene: Watched) -> None:
    wait_for(lambda: set(scene.prometheus.health().values()) == {"up"}, 60.0)
    assert len(scene.prometheus.health()) == 3


def test_every_rule_looks_at_series_that_exist(scene: Watched) -> None:
    """Without its limit the query of a rule has data while nothing is wrong."""

    def without_data() -> list[str]:
        return [
            rule.expression
            for rule in rules()
            if not scene.prometheus.query(re.sub(r" (==|>) \d", "", rule.expression))
        ]

    wait_for(lambda: not without_data(), 60.0, lambda: f"no data: {without_data()}")
    found = scene.prometheus.rules()
    assert [rule["query"] for rule in found] == [rule.expression for rule in rules()]
    assert {(rule["health"], rule.get("lastError", "")) for rule in found} == {("ok", "")}


def test_rules_fire_when_something_is_wrong_and_clear_when_it_is_well(scene: Watched) -> None:
    timeline = scene.timeline
    timeline.follow()  # what was down before the start
    # wrong, all at once
    timeline.caused("override", "drawdown", "bars_missing", "bars_suspect", "drift")
    timeline.caused("position_mismatch", severity="critical")
    scene.order("force_hold")
    scene.broker_says(5.0)
    scene.drift(alarms=2)
    scene.trade(loss=1_300.0)
    scene.feed(SYMBOLS[0], last=1.3)
    post(scene.replay, "/bars", bars_body(402, 403, REPLAYED))  # two before it are missing
    timeline.follow()
    timeline.caused("halted", "bus_unreachable", "bars_overdue")
    timeline.cured("drawdown")
    timeline.cured("bars_overdue", severity="critical")
    scene.feed(SYMBOLS[1], age_s=1200.0)
    scene.trade(loss=1_000.0)
    post(scene.replay, "/bars", bars_body(403, 404, REPLAYED))  # a halt comes with a bar
    scene.bus.stop()
    timeline.follow()
    timeline.caused("state_unavailable", "writes_fail", severity="critical")
    scene.lock_state()
    timeline.follow()
    # well again
    scene.unlock_state()
    timeline.cured("state_unavailable", severity="critical")
    scene.restart_bus()
    timeline.cured("bus_unreachable", "bus_may_lose")
    scene.feed(SYMBOLS[1])
    timeline.cured("bars_overdue")
    scene.order("resume")
    timeline.cured("override")
    scene.broker_says(0.0)
    timeline.cured("position_mismatch", severity="critical")
    scene.drift(alarms=0)
    timeline.cured("drift")
    wait_for(lambda: scene.replay.get("/ready").status_code == 200, 30.0)
    scene.feed(SYMBOLS[0])
    post(scene.replay, "/bars", bars_body(404, 600, REPLAYED))
    timeline.cured("halted", "bars_missing", "bars_suspect")
    timeline.follow()
    print(*timeline.rows(), sep="\n")


def test_people_are_told_of_alerts_and_of_their_end(scene: Watched) -> None:
    """What the shipped Alertmanager sends to the receiver of `tactical notify`."""
    told = scene.alertmanager.told
    expected = [("TacticalServiceDown", "failure"), ("TacticalPositionMismatch", "failure")]
    expected += [("TacticalOverride", "warning"), ("TacticalHalted", "warning")]
    expected += [(name, "success") for name, _ in expected]
    wait_for(
        lambda: all(told(*each) for each in expected),
        120.0,
        lambda: f"not told: {[each for each in expected if not told(*each)]}",
    )
    (override,) = [m for m in scene.alertmanager.messages if m.title == OVERRIDE]
    assert override.body.startswith("warning: An operator's order is in force (S0) (since 20")
    assert override.body.endswith("runbook docs/runbooks/override.md)")


def test_every_query_of_every_panel_has_data(scene: Watched) -> None:
    """After the alerts above, some of which fire on: what failed is counted for minutes."""
    asked = {
        query.expression: query.expression.replace("$__rate_interval", "1m").replace(
            "$symbol", ".*"
        )
        for panel in panels()
        for query in panel.queries
    }

    def without_data() -> set[str]:
        scene.decide(SYMBOLS[0])  # nothing else decides now, and rates would be none
        found = {name: scene.prometheus.query(text) for name, text in asked.items()}
        return {
            name
            for name, series in found.items()
            if not any(not math.isnan(float(each["value"][1])) for each in series)
        }

    wait_for(
        lambda: without_data() == WITHOUT_SERIES, 30.0, lambda: f"without data: {without_data()}"
    )

"""The shipped rules are those of the table; promtool says that each fires, and clears."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.api.alerts import AlertCode
from serve.observability.rules import OUTSIDE, RUNBOOKS, Rule, rules, rules_yaml

STEP_S = 15
BAD = 60
"""Scrapes for which each series is bad, from scrape 4 on."""

SERIES = {
    "service_down": ('up{job="tactical", instance="a"}', "1", "0"),
    "ray_down": ('up{job="ray", instance="a"}', "1", "0"),
    "model_loading": ('tactical_model_loading{instance="a"}', "0", "1"),
    "model_load_fails": ('tactical_model_load_failures_total{instance="a"}', "0", "1"),
    "writes_fail": ('tactical_failed_writes_total{instance="a", endpoint="/bars"}', "0", "1"),
}
"""By code of a rule on more than the table: its series, and what is good and bad in it."""


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series_of(rule: Rule) -> tuple[str, str, str]:
    if rule.code in SERIES:
        return SERIES[rule.code]
    bad = "1" if rule.severity == "warning" else "2"
    return f'tactical_alert{{instance="a", code="{rule.code}", symbol="TEST"}}', "0", bad


def unit_test(rule: Rule) -> dict[str, Any]:
    """Return promtool's test: silent at first, not before its time, then firing, then silent."""
    name, good, bad = series_of(rule)
    values = " ".join([good] * 4 + [bad] * BAD + [good] * 60)
    if "increase(" in rule.expression:  # a counter that rose once and stays
        values = " ".join([good] * 4 + [bad] * 120)
    labels = dict(re.findall(r'(\w+)="([^"]*)"', name)) | {
        "severity": rule.severity,
        "component": rule.component,
    }
    symbol = " (TEST)" if "symbol=" in name else ""
    alert = {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": f"{rule.summary}{symbol}",
            "runbook": f"{RUNBOOKS}/{rule.code}.md",
        },
    }
    begins_s, ends_s = 4 * STEP_S, (4 + BAD + 60 - 1) * STEP_S
    times = {begins_s - STEP_S: [], begins_s + rule.after_s: [alert], ends_s: []}
    if rule.after_s:
        times[begins_s + rule.after_s - STEP_S] = []
    others = [{"series": 'up{job="tactical", instance="a"}', "values": "1x200"}]
    return {
        "interval": f"{STEP_S}s",
        "input_series": [{"series": name, "values": values}]
        + ([] if rule.code == "service_down" else others),
        "alert_rule_test": [
            {"eval_time": f"{at_s}s", "alertname": rule.name, "exp_alerts": expected}
            for at_s, expected in sorted(times.items())
        ],
    }


def test_the_shipped_rules_are_those_of_the_table(project_root: Path) -> None:
    shipped = (project_root / "deploy/prometheus/rules.yaml").read_text(encoding="utf-8")
    assert shipped == rules_yaml(), "python -m serve.observability.rules writes them"
    assert {rule.code for rule in rules()} == {*AlertCode, *(rule.code for rule in OUTSIDE)}
    assert len({(rule.name, rule.severity) for rule in rules()}) == len(list(rules()))


def test_every_rule_has_a_runbook_that_the_index_lists(project_root: Path) -> None:
    folder = project_root / RUNBOOKS
    index = (folder / "index.md").read_text(encoding="utf-8")
    for rule in rules():
        page = (folder / f"{rule.code}.md").read_text(encoding="utf-8")
        severities = [each.severity for each in rules() if each.code == rule.code]
        head = f"{rule.summary}. Severity: {' or '.join(severities)}; component: {rule.component}."
        assert page.startswith(f"# {rule.name}\n\n{head}\n")
        row = f"{', '.join(severities)} | {rule.component} | {rule.after_s} s | {rule.summary} |"
        assert f"| [{rule.name}]({rule.code}.md) | {row}\n" in index


def test_promtool_accepts_the_rules(project_root: Path) -> None:
    found = promtool("check", "rules", project_root / "deploy/prometheus/rules.yaml")
    assert f"{len(list(rules()))} rules found" in found


def test_each_rule_fires_after_its_time_and_clears(project_root: Path, tmp_path: Path) -> None:
    assert set(SERIES) == {rule.code for rule in OUTSIDE}
    file = tmp_path / "rules_test.yaml"
    shipped = str(project_root / "deploy/prometheus/rules.yaml")
    tests = [unit_test(rule) for rule in rules()]
    content = {"rule_files": [shipped], "evaluation_interval": f"{STEP_S}s", "tests": tests}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    promtool("test", "rules", file)


def test_amtool_accepts_the_routes_of_alerts(project_root: Path) -> None:
    program = shutil.which("amtool")
    if program is None:
        pytest.skip("needs amtool (Debian: prometheus-alertmanager)")
    config = str(project_root / "deploy/alertmanager/alertmanager.yaml")

    def amtool(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "1 receivers" in amtool("check-config", config)
    for severity in ("warning", "critical"):
        route = amtool(
            "config", "routes", "test", f"--config.file={config}", f"severity={severity}"
        )
        assert route.strip() == "people"

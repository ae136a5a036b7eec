"""Alerts are of the table: their component, their severities."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serve.api.alerts import ALERTS, AlertCode
from serve.api.health import Alert


def test_an_alert_has_the_component_of_its_kind() -> None:
    found = Alert.of(AlertCode.BARS_OVERDUE, "late", "critical")
    assert found == Alert(AlertCode.BARS_OVERDUE, "critical", "bus", "late")
    assert Alert.of(AlertCode.DRIFT, "far").severity == "warning"


def test_a_severity_that_no_rule_looks_for_is_refused() -> None:
    text = "severity of drift must be one of warning, found critical"
    with pytest.raises(ValueError, match=text):
        Alert.of(AlertCode.DRIFT, "far", "critical")
    with pytest.raises(ValueError, match="severity of clock_jumped must be one of critical"):
        Alert.of(AlertCode.CLOCK_JUMPED, "by an hour")


def test_every_code_is_in_the_table_and_raised_somewhere(project_root: Path) -> None:
    assert set(ALERTS) == set(AlertCode)
    raised = {
        AlertCode[name]
        for file in (project_root / "serve").rglob("*.py")
        if file.name != "alerts.py" or file.parent.name != "api"
        for name in re.findall(r"AlertCode\.([A-Z_]+)", file.read_text(encoding="utf-8"))
    }
    assert raised == set(AlertCode)

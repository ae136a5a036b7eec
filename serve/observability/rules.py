"""The alert rules for Prometheus, made of the table of alerts and of what only Prometheus sees.

``python -m serve.observability.rules > deploy/prometheus/rules.yaml`` writes them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from serve.api.alerts import ALERTS

JOB: Final = "tactical"
RAY_JOB: Final = "ray"
RUNBOOKS: Final = "docs/runbooks"
"""Folder of the runbooks, one page per alert, below the project's root."""

_OF_SYMBOL: Final = "{{ with $labels.symbol }} ({{ . }}){{ end }}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule. ``code``: also the name of its runbook; ``after_s``: see ``AlertKind``."""

    code: str
    expression: str
    severity: str
    component: str
    summary: str
    after_s: int

    @property
    def name(self) -> str:
        """Return the alert's name, such as ``TacticalBarsOverdue``."""
        return "Tactical" + "".join(part.capitalize() for part in self.code.split("_"))

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as it stands in a file of rules."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": f"{self.after_s}s",
            "labels": {"severity": self.severity, "component": self.component},
            "annotations": {
                "summary": self.summary + _OF_SYMBOL,
                "runbook": f"{RUNBOOKS}/{self.code}.md",
            },
        }


OUTSIDE: Final = (
    Rule(
        "service_down",
        f'up{{job="{JOB}"}} == 0 or absent(up{{job="{JOB}"}})',
        "critical",
        "service",
        "The service does not answer Prometheus",
        30,
    ),
    Rule(
        "model_loading",
        "tactical_model_loading == 1",
        "warning",
        "models",
        "The chosen bundle is not loaded: decisions hold",
        60,
    ),
    Rule(
        "model_load_fails",
        "increase(tactical_model_load_failures_total[10m]) > 0",
        "warning",
        "models",
        "A replica could not load the chosen bundle",
        0,
    ),
    Rule(
        "writes_fail",
        "increase(tactical_failed_writes_total[5m]) > 0",
        "critical",
        "store",
        "Bars, fills or orders could not be written",
        0,
    ),
    Rule(
        "ray_down",
        f'up{{job="{RAY_JOB}"}} == 0',
        "warning",
        "service",
        "Ray's node does not answer Prometheus",
        60,
    ),
)
"""Rules on what the service cannot say of itself, or counts without an alert of its own."""


def rules() -> Iterator[Rule]:
    """Yield every rule: for each alert of the table one per severity, then ``OUTSIDE``."""
    for code, kind in ALERTS.items():
        for severity in kind.severities:
            level = 1 if severity == "warning" else 2
            yield Rule(
                code.value,
                f'tactical_alert{{code="{code.value}"}} == {level}',
                severity,
                kind.component,
                kind.summary,
                kind.after_s,
            )
    yield from OUTSIDE


def rules_yaml() -> str:
    """Return the file of rules."""
    group = {"name": "tactical", "rules": [rule.as_dict() for rule in rules()]}
    head = "# Written by: python -m serve.observability.rules > deploy/prometheus/rules.yaml\n"
    text: str = yaml.safe_dump({"groups": [group]}, sort_keys=False, width=1000)
    return head + text


if __name__ == "__main__":
    sys.stdout.write(rules_yaml())

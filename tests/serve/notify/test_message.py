"""One message for a group of alerts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serve.notify.message import Message, Webhook, message_of

SINCE, UNTIL = "2026-03-02T10:00:00Z", "2026-03-02T10:05:00Z"


def alert(name: str, severity: str, status: str = "firing", **annotations: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": severity, "instance": "service:8001"},
        "annotations": annotations,
        "startsAt": SINCE,
        "endsAt": UNTIL,
        "generatorURL": "http://prometheus:9090/graph",
    }


def message(*alerts: dict[str, Any]) -> Message:
    body = {"version": "4", "status": "firing", "alerts": list(alerts), "groupKey": "{}"}
    return message_of(msgspec.convert(body, Webhook))


def test_critical_alerts_come_first_and_resolved_ones_last() -> None:
    found = message(
        alert("B", "warning", "resolved", summary="It was late"),
        alert("A", "warning", summary="It is late"),
        alert("A", "critical", summary="It is very late", runbook="docs/runbooks/a.md"),
    )
    where = f"(since {SINCE}, instance service:8001"
    assert found == Message(
        "A, B: 2 firing, 1 resolved",
        f"critical: It is very late {where}, runbook docs/runbooks/a.md)\n"
        f"warning: It is late {where})\n"
        f"resolved: It was late, from {SINCE} to {UNTIL}",
        "failure",
    )


def test_the_tone_is_that_of_the_worst() -> None:
    warning, over = alert("A", "warning"), alert("A", "critical", "resolved")
    assert message(warning, over).tone == "warning"
    assert message(over) == Message(
        "A: 1 resolved", f"resolved: A, from {SINCE} to {UNTIL}", "success"
    )


def test_another_version_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="version"):
        msgspec.convert({"version": "5", "status": "firing", "alerts": []}, Webhook)

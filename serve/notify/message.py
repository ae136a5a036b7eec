"""What Alertmanager posts to a webhook, and the message to people that is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

Tone = Literal["failure", "warning", "success"]
"""How a message looks, by Apprise's names."""

_CRITICAL: Final = "critical"


class WebhookAlert(msgspec.Struct, frozen=True):
    """One alert. ``startsAt``, ``endsAt``: RFC 3339."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: str = ""
    endsAt: str = ""


class Webhook(msgspec.Struct, frozen=True):
    """The body that Alertmanager posts, version 4: a group of alerts. Other fields are left out."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    alerts: list[WebhookAlert]


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads."""

    title: str
    body: str
    tone: Tone


def message_of(webhook: Webhook) -> Message:
    """Return one message for a group of alerts: those that fire first, critical ones on top."""
    firing = [alert for alert in webhook.alerts if alert.status == "firing"]
    resolved = [alert for alert in webhook.alerts if alert.status == "resolved"]
    firing.sort(key=lambda alert: alert.labels.get("severity") != _CRITICAL)
    parts = [
        f"{len(of_kind)} {word}" for of_kind, word in ((firing, "firing"), (resolved, "resolved"))
        if of_kind
    ]  # fmt: skip
    names = sorted({alert.labels.get("alertname", "alert") for alert in webhook.alerts})
    tone: Tone = "success"
    if firing:
        tone = "failure" if firing[0].labels.get("severity") == _CRITICAL else "warning"
    lines = [_line(alert) for alert in [*firing, *resolved]]
    return Message(f"{', '.join(names)}: {', '.join(parts)}", "\n".join(lines), tone)


def _line(alert: WebhookAlert) -> str:
    severity = alert.labels.get("severity", "")
    text = alert.annotations.get("summary") or alert.labels.get("alertname", "alert")
    if alert.status == "resolved":
        return f"resolved: {text}, from {alert.startsAt} to {alert.endsAt}"
    found: dict[str, Any] = {
        "since": alert.startsAt,
        "instance": alert.labels.get("instance"),
        "runbook": alert.annotations.get("runbook"),
    }
    more = ", ".join(f"{name} {value}" for name, value in found.items() if value)
    return f"{severity}: {text}{f' ({more})' if more else ''}"

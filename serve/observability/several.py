"""One health report of a service with several symbols, made of one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from serve.api.alerts import ALERTS, AlertCode
from serve.api.health import (
    Alert,
    Components,
    HealthAnswer,
    Severity,
    SymbolHealth,
    TotalHealth,
)
from serve.observability.health import DRAWDOWN_ALERT, worst
from serve.state.machine import StateMachine
from serve.state.records import AUTOMATIC
from serve.state.symbol_machine import STRICTNESS

_LEVELS: Final = ("none", "warning", "critical")


def combined(reports: Mapping[str, HealthAnswer], machine: StateMachine) -> HealthAnswer:
    """Return the report of the service: of each component the worst, of positions the sum.

    With one symbol it is that symbol's report. What all symbols have in common is said once, what
    one has begins with its name.

    Args:
        reports: by symbol, at least one, of the same moment.
        machine: the state, for the limits over the sum and symbols that are not served.
    """
    first, *others = reports.values()
    alerts = [*_alerts(reports), *service_alerts(machine)]
    if not others:
        return msgspec.structs.replace(first, alerts=alerts)
    components: dict[str, Any] = {}
    for name in Components.__struct_fields__:
        parts = [getattr(report.components, name) for report in reports.values()]
        status = worst(part.status for part in parts)
        components[name] = next(part for part in parts if part.status == status)
    metrics = [report.metrics for report in reports.values()]
    return msgspec.structs.replace(
        first,
        status=worst(part.status for part in components.values()),
        components=Components(**components),
        metrics=msgspec.structs.replace(
            first.metrics,
            active_positions=sum(each.active_positions for each in metrics),
            override=max((each.override for each in metrics), key=STRICTNESS.index),
            halted=any(each.halted for each in metrics),
        ),
        alerts=alerts,
        total=TotalHealth(
            machine.total.equity,
            machine.total.drawdown,
            machine.total.limits.drawdown,
            machine.total.limits.daily_loss,
            machine.total.halted,
        ),
        symbols={symbol: _symbol_health(report) for symbol, report in reports.items()},
    )


def service_alerts(machine: StateMachine) -> list[Alert]:
    """Return what an operator has to know of the service as a whole."""
    found, total, limit = [], machine.total, machine.total.limits.drawdown
    if total.halted:
        text = "a limit over the sum of all accounts halted trading"
        found.append(Alert.of(AlertCode.TOTAL_HALTED, text))
    elif limit is not None and total.drawdown > limit * DRAWDOWN_ALERT:
        text = f"drawdown of all accounts is {total.drawdown:.2%}, its limit {limit:.2%}"
        found.append(Alert.of(AlertCode.TOTAL_DRAWDOWN, text))
    for symbol in machine.left_out:
        account = machine.symbols[symbol].account
        held = account.side * account.quantity
        text = f"the state holds {symbol}, for which no bundle was given: position {held:g} lots"
        severity: Severity = "critical" if held else "warning"
        found.append(Alert.of(AlertCode.SYMBOL_LEFT_OUT, text, severity))
    return found


def rollback_alerts(machine: StateMachine, symbol: str, named: bool = False) -> list[Alert]:
    """Return a warning when the service rolled back by itself, until another bundle is chosen.

    ``named``: the message says which symbol it is.
    """
    model = machine.symbols[symbol].model
    if model.by != AUTOMATIC:
        return []
    name = f"{symbol}: " if named else ""
    text = f"{name}bundle {model.bundle_id[:12]} decides again instead of the promoted one: "
    return [Alert.of(AlertCode.ROLLED_BACK, text + model.note)]


def alert_levels(
    reports: Mapping[str, HealthAnswer], others: Sequence[Alert]
) -> dict[tuple[AlertCode, str], int]:
    """Return how bad each alert of the table is: 0 for none, 1 for a warning, 2 for critical.

    Args:
        reports: by symbol.
        others: what is known of the service as a whole.

    Returns:
        By code and symbol; the symbol is empty for what all symbols share.
    """
    levels = {
        (code, symbol): 0
        for code, kind in ALERTS.items()
        for symbol in (reports if kind.by_symbol else ("",))
    }
    for symbol, alerts in [*((name, each.alerts) for name, each in reports.items()), ("", others)]:
        for alert in alerts:
            key = alert.code, symbol if ALERTS[alert.code].by_symbol else ""
            levels[key] = max(levels[key], _LEVELS.index(alert.severity))
    return levels


def _alerts(reports: Mapping[str, HealthAnswer]) -> Sequence[Alert]:
    every = [report.alerts for report in reports.values()]
    if len(every) == 1:
        return every[0]
    common = [alert for alert in every[0] if all(alert in alerts for alerts in every)]
    own = [
        msgspec.structs.replace(alert, message=f"{symbol}: {alert.message}")
        for symbol, report in reports.items()
        for alert in report.alerts
        if alert not in common
    ]
    return [*common, *own]


def _symbol_health(report: HealthAnswer) -> SymbolHealth:
    components, metrics = report.components, report.metrics
    parts = (components.models, components.agents, components.bus)
    return SymbolHealth(
        status=worst(part.status for part in parts),
        bundle_id=components.models.bundle_id,
        active_positions=metrics.active_positions,
        override=metrics.override,
        halted=metrics.halted,
        bars=components.bus.bars,
        bars_overdue_s=components.bus.bars_overdue_s,
        gap=components.bus.gap,
        suspect=components.bus.suspect,
        accuracy=components.agents.accuracy,
        trades=components.agents.trades,
    )

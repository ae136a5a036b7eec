"""One health report of a service with several symbols, made of one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from serve.api.health import Alert, Components, HealthAnswer, SymbolHealth, TotalHealth
from serve.observability.health import worst
from serve.state.machine import StateMachine
from serve.state.symbol_machine import STRICTNESS


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
    found = []
    if machine.total.halted:
        text = "a limit over the sum of all accounts halted trading"
        found.append(Alert("warning", "account", text))
    for symbol in machine.left_out:
        account = machine.symbols[symbol].account
        held = account.side * account.quantity
        text = f"the state holds {symbol}, for which no bundle was given: position {held:g} lots"
        found.append(Alert("critical" if held else "warning", "account", text))
    return found


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

"""One health report of several, by hand."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.simulation.account import Account
from serve.api.alerts import AlertCode
from serve.api.health import TotalHealth
from serve.decision.risk_state import RiskState
from serve.observability.health import StateAge
from serve.observability.several import alert_levels, combined, service_alerts
from serve.state.machine import StateMachine
from serve.state.records import ServingRecord, model_record
from serve.state.total import TotalLimits
from tests.serve.observability.test_health import recent, report


def several(bundle: Bundle, served: tuple[str, ...]) -> StateMachine:
    record = model_record(bundle, "first")
    machine = StateMachine(
        msgspec.structs.replace(record, instrument=record.instrument | {"symbol": "A"})
    )
    machine.apply(msgspec.structs.replace(record, instrument=record.instrument | {"symbol": "B"}))
    machine.apply(ServingRecord(served, TotalLimits(0.02)))
    return machine


def test_of_each_component_the_worst_counts_and_positions_are_added(bundle: Bundle) -> None:
    account = Account.opened(100_000.0)
    held = replace(account, side=-1, quantity=2.0)
    slow = recent(total_ms=160.0)
    reports = {
        "A": report(past=slow, state=RiskState(held, Control.PAUSE)),
        "B": report(
            past=slow,
            state=RiskState(held, Control.FLATTEN),
            age=StateAge(state_age_s=0.1, lost=False, bars_overdue_s=400.0),
        ),
    }
    found = combined(reports, several(bundle, ("A", "B")))
    assert found.status == "degraded"
    assert found.components.bus == reports["B"].components.bus
    assert (found.metrics.active_positions, found.metrics.override) == (2, Control.FLATTEN)
    messages = [alert.message for alert in found.alerts]
    assert messages == [
        "latency_p95_ms is 160, above 150",  # once: it is of all
        "A: an operator's order is in force: pause",
        "B: bars_overdue_s is 400, above 300",
        "B: an operator's order is in force: flatten",
    ]
    assert isinstance(found.symbols, dict)
    assert isinstance(found.total, TotalHealth)
    assert found.symbols["B"].status == "degraded"
    assert found.symbols["A"].status == "healthy"
    assert (found.total.equity, found.total.drawdown_limit) == (200_000.0, 0.02)


def test_the_report_of_one_symbol_stays_what_it_is(bundle: Bundle) -> None:
    one = report()
    alone = StateMachine(model_record(bundle, "first"))
    assert combined({"TEST": one}, alone) == one
    left = combined({"A": one}, several(bundle, ("A",)))
    assert left.symbols is msgspec.UNSET
    assert [alert.message for alert in left.alerts] == [
        "the state holds B, for which no bundle was given: position 0 lots"
    ]
    assert left.alerts[0].severity == "warning"


def test_the_level_of_an_alert_is_of_a_symbol_or_of_all(bundle: Bundle) -> None:
    account = Account.opened(100_000.0)
    reports = {
        "A": report(past=recent(total_ms=160.0), state=RiskState(account, Control.PAUSE)),
        "B": report(
            past=recent(total_ms=160.0),
            state=RiskState(account),
            age=StateAge(state_age_s=0.1, lost=False, bars_overdue_s=4_000.0),
        ),
    }
    found = alert_levels(reports, service_alerts(several(bundle, ("A",))))
    bad = {(code.value, symbol): level for (code, symbol), level in found.items() if level}
    assert bad == {
        ("latency", ""): 1,
        ("override", "A"): 1,
        ("bars_overdue", "B"): 2,
        ("symbol_left_out", ""): 1,
    }
    assert found[AlertCode.OVERRIDE, "B"] == found[AlertCode.DRIFT, "A"] == 0
    assert (AlertCode.CPU, "A") not in found


def test_half_of_the_drawdown_limit_of_the_sum_is_an_alert(bundle: Bundle) -> None:
    machine = several(bundle, ("A", "B"))
    assert service_alerts(machine) == []
    for drawdown, codes in ((0.009, []), (0.011, [AlertCode.TOTAL_DRAWDOWN])):
        machine.total.equity = machine.total.peak * (1.0 - drawdown)
        assert [alert.code for alert in service_alerts(machine)] == codes

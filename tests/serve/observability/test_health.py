"""Grades, alerts and latencies of the health report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import Instrument
from serve.api.health import HealthAnswer, StageLatency, StreamsHealth
from serve.api.responses import NO_ACCURACY, Accuracy
from serve.bus.status import BusFigures, BusStatus
from serve.decision.decider import STAGES
from serve.decision.risk_state import RiskState
from serve.journal.recorder import JournalHealth
from serve.observability.health import (
    CRITICAL,
    DEGRADED,
    HEALTHY,
    LIMITS,
    StateAge,
    decisions_overdue_s,
    grade,
    health_report,
    latency_report,
    worst,
)
from serve.observability.latency_window import DecisionWindow, Recent
from serve.observability.resources import Resources
from serve.state.bars import BufferState

NOW = 1_700_000_000.0


CALM = Resources(cpu_percent=10.0, memory_percent=20.0, disk_percent=30.0)

KEPT = JournalHealth(waiting=3, lost=0, failure=None, recent=False)


def recent(total_ms: float = 1.0, **changes: Any) -> Recent:
    values: dict[str, Any] = {
        "stages_ms": np.array([[0.1, 0.2, 0.3, total_ms]]),
        "decisions": 100,
        "fallbacks": 0,
        "writes": 0,
        "errors": 0,
        "confidence_sum": 75.0,
        "last_decision_s": NOW,
        **changes,
    }
    return Recent(**values)


FLAT = RiskState(Account.opened(100_000.0))


CURRENT = StateAge(state_age_s=0.4, lost=False, bars_overdue_s=None)


def report(
    resources: Resources = CALM,
    past: Recent | None = None,
    state: RiskState | None = None,
    age: StateAge | None = None,
    scores: tuple[int, Accuracy] = (0, NO_ACCURACY),
    journal: JournalHealth = KEPT,
    bus: BusStatus | None = None,
) -> HealthAnswer:
    return health_report(
        NOW,
        resources,
        past or recent(),
        PerformanceConfig(),
        "abc",
        0.02,
        state or FLAT,
        scores,
        age or CURRENT,
        journal,
        bus,
    )


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_grades_change_at_their_limits(name: str) -> None:
    degraded, critical = LIMITS[name]
    assert [
        grade(name, value) for value in (degraded, degraded * 1.01, critical, critical * 1.01)
    ] == [
        HEALTHY,
        DEGRADED,
        DEGRADED,
        CRITICAL,
    ]


def test_the_worst_component_wins() -> None:
    assert worst([HEALTHY, CRITICAL, DEGRADED]) == CRITICAL
    assert worst([]) == HEALTHY
    found = report(Resources(cpu_percent=96.0, memory_percent=86.0, disk_percent=1.0))
    assert found.status == CRITICAL
    assert found.components.resources.status == CRITICAL
    assert found.components.models.status == HEALTHY
    assert [alert.severity for alert in found.alerts] == ["critical", "warning"]
    assert "cpu_percent is 96, above 95" in found.alerts[0].message


@pytest.mark.parametrize(
    ("total_ms", "status", "alerts"),
    [(99.0, HEALTHY, 0), (120.0, DEGRADED, 0), (160.0, DEGRADED, 1), (201.0, CRITICAL, 1)],
)
def test_latency_degrades_and_alerts(total_ms: float, status: str, alerts: int) -> None:
    found = report(past=recent(total_ms))
    assert found.components.pipeline.status == status
    assert len(found.alerts) == alerts


def test_before_the_first_decision_there_is_nothing_to_complain_of() -> None:
    found = report(past=DecisionWindow().recent(NOW))
    assert found.status == HEALTHY
    assert found.latency.total == StageLatency(target=100.0, violations=0)
    assert found.metrics.last_decision is None


def test_failures_degrade_models_and_pipeline() -> None:
    found = report(past=recent(fallbacks=2, errors=10))
    assert found.components.models.status == DEGRADED
    assert found.components.pipeline.status == CRITICAL
    assert found.metrics.avg_confidence == 0.75
    assert found.timestamp.startswith("2023-11-14T22:13:20")


def with_market(**changes: Any) -> RiskState:
    values: dict[str, Any] = {
        "matrix": b"",
        "price": 1.0,
        "atr": 1.0,
        "last_s": 0,
        "arrived_s": 0.0,
        "bars": 9,
        "tradable": True,
        "bars_since_gap": None,
        "due_s": 600.0,
        **changes,
    }
    return RiskState(Account.opened(1e5), market=BufferState(**values))


@pytest.mark.parametrize(
    ("state", "age", "status", "alert"),
    [
        (FLAT, CURRENT, HEALTHY, None),
        (FLAT, StateAge(2.5, True, None), CRITICAL, "the state has taken no write for 2.5 s"),
        (with_market(), StateAge(0.1, False, 299.0), HEALTHY, None),
        (with_market(), StateAge(0.1, False, 301.0), DEGRADED, "bars_overdue_s is 301"),
        (with_market(), StateAge(0.1, False, 3601.0), CRITICAL, "bars_overdue_s is 3601"),
        (with_market(tradable=False), StateAge(0.1, False, 0.0), HEALTHY, None),  # over night
        (
            with_market(tradable=False),
            StateAge(0.1, False, 301.0),
            DEGRADED,
            "bars_overdue_s is 301",
        ),
        (with_market(bars_since_gap=50), StateAge(0.1, False, 0.0), DEGRADED, "bars are missing"),
    ],
)
def test_the_bus_is_as_current_as_state_and_bars(
    state: RiskState, age: StateAge, status: str, alert: str | None
) -> None:
    found = report(state=state, age=age)
    assert found.components.bus.status == found.status == status
    assert [text.message.startswith(alert or "") for text in found.alerts] == [True] * (
        alert is not None
    )


@pytest.mark.parametrize(
    ("overdue_s", "status", "by_event"),
    [
        (None, HEALTHY, False),
        (300.0, HEALTHY, False),
        (301.0, DEGRADED, False),
        (3601.0, CRITICAL, False),
        (3601.0, HEALTHY, True),
    ],
)
def test_a_client_that_asks_no_more_is_noticed(
    overdue_s: float | None, status: str, by_event: bool
) -> None:
    found = report(age=StateAge(0.1, False, 0.0, overdue_s), bus=BusStatus() if by_event else None)
    pipeline = found.components.pipeline
    assert (pipeline.status, pipeline.decisions_overdue_s) == (status, overdue_s)
    assert [alert.message for alert in found.alerts if alert.component == "pipeline"] == (
        [f"decisions_overdue_s is {overdue_s:g}, above {300 if status == DEGRADED else 3600}"]
        if status != HEALTHY
        else []
    )


def test_a_decision_is_due_when_the_calendars_next_bar_closes() -> None:
    stock = Instrument(symbol="TQQQ", calendar="XNYS", timezone="America/New_York", tick_size=0.01)

    def at(text: str) -> float:
        return datetime.fromisoformat(f"{text}-05:00").timestamp()

    def overdue_s(last: str, now: str) -> float | None:
        return decisions_overdue_s(at(last), at(now), stock, 300)

    assert decisions_overdue_s(None, NOW, stock, 300) is None
    for last in ("2025-01-06T10:00:00", "2025-01-06T10:00:02", "2025-01-06T10:04:59"):
        assert overdue_s(last, "2025-01-06T10:05:00") == 0.0
        assert overdue_s(last, "2025-01-06T10:10:01") == 301.0
    # from the last close of Friday to the first of Monday nothing is due
    assert overdue_s("2025-01-03T16:00:01", "2025-01-06T09:35:00") == 0.0
    assert overdue_s("2025-01-03T16:00:01", "2025-01-06T09:36:00") == 60.0


@pytest.mark.parametrize(
    ("trades", "share", "status"),
    [(19, 0.1, HEALTHY), (20, 0.60, HEALTHY), (20, 0.59, DEGRADED), (20, 0.44, CRITICAL)],
)
def test_agents_are_judged_by_their_accuracy(trades: int, share: float, status: str) -> None:
    accuracy = Accuracy(share, 0.9, None)
    found = report(scores=(trades, accuracy))
    assert found.components.agents.status == found.status == status
    assert found.components.agents.accuracy == accuracy


def test_latency_report_by_hand() -> None:
    stages = np.zeros((5, len(STAGES)))
    stages[:, 3] = [50.0, 60.0, 70.0, 80.0, 140.0]
    found = latency_report(stages, PerformanceConfig()).total
    assert found == StageLatency(
        mean=80.0,
        p50=70.0,
        p95=128.0,  # 80 + 0.8 x 60: linear between the fourth and the fifth
        p99=137.6,
        max=140.0,
        target=100.0,
        violations=1,
    )


@pytest.mark.parametrize(
    ("account", "control", "messages"),
    [
        ({"equity": 99_001.0}, Control.NONE, []),
        ({"equity": 98_999.0}, Control.NONE, ["drawdown of the session is 1.00%, its limit 2.00%"]),
        ({"halted": True}, Control.NONE, ["the session's drawdown limit halted trading"]),
        ({}, Control.PAUSE, ["an operator's order is in force: pause"]),
        (
            {"halted": True},
            Control.FLATTEN,
            [
                "the session's drawdown limit halted trading",
                "an operator's order is in force: flatten",
            ],
        ),
    ],
)
def test_halts_orders_and_drawdowns_are_alerts_but_no_faults(
    account: dict[str, Any], control: Control, messages: list[str]
) -> None:
    state = RiskState(replace(Account.opened(100_000.0), **account), control)
    found = report(state=state)
    assert found.status == HEALTHY
    assert [(alert.severity, alert.component) for alert in found.alerts] == (
        [("warning", "account")] * len(messages)
    )
    assert [alert.message for alert in found.alerts] == messages


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        (KEPT, None),
        (
            JournalHealth(waiting=7, lost=0, failure="disk full", recent=False),
            "decisions cannot be written to the journal",
        ),
        (
            JournalHealth(waiting=0, lost=5, failure=None, recent=True),
            "5 decisions are missing from the journal",
        ),
    ],
)
def test_decisions_that_are_not_kept_degrade_the_store(
    journal: JournalHealth, message: str | None
) -> None:
    found = report(journal=journal)
    store = found.components.store
    assert (store.decisions_waiting, store.decisions_lost) == (journal.waiting, journal.lost)
    assert store.status == ("healthy" if message is None else "degraded")
    told = [alert.message for alert in found.alerts if alert.component == "store"]
    assert told == ([] if message is None else [message])


READ = BusStatus(unreachable=None, leads=True, figures=BusFigures(3, 2, 0, 0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"unreachable": "refused"}, "the bus cannot be used: refused"),
        ({"refused": "full"}, "the bus does not take what it is given: full"),
        ({"took_s": 2.0}, "the bus takes 2.0 s to answer"),
        ({"figures": BusFigures(1_001, 0, 0, 0.0)}, "1001 entries of the bus have not been read"),
        (
            {"figures": BusFigures(0, 1, 0, 6.0)},
            "entries of the bus wait for 6 s to be answered",
        ),
        (
            {"figures": BusFigures(0, 0, 4, 0.0), "dead_recently": True},
            "4 dead letters are on the bus, some of the last hour",
        ),
    ],
)
def test_a_bus_in_trouble_degrades(changes: dict[str, Any], message: str | None) -> None:
    found = report(bus=replace(READ, **changes))
    assert found.components.bus.status == (HEALTHY if message is None else DEGRADED)
    assert [alert.message for alert in found.alerts] == ([] if message is None else [message])


def test_the_health_of_the_bus_says_how_much_waits() -> None:
    assert report().components.bus.streams is None
    assert report(bus=READ).components.bus.streams == StreamsHealth(True, True, 3, 2, 0.1, 0)
    first = report(bus=BusStatus()).components.bus.streams
    assert first == StreamsHealth(False, False, None, None, None, None)


def test_a_server_that_may_lose_something_is_an_alert_of_a_healthy_bus() -> None:
    found = report(bus=replace(READ, warning="it may"))
    assert (found.status, [alert.message for alert in found.alerts]) == (HEALTHY, ["it may"])

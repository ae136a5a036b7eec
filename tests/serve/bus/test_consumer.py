"""Events in, exactly one command for each out, on a real server."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.api.streams import ALERTS, BARS, COMMANDS, DEAD, DECISIONS, SYNERGIES
from serve.api.write_requests import FillInput
from serve.bus import consumer
from serve.bus.consumer import BATCH
from tests.serve.bus.events import Bus, bars_request, event, messages, publish_bars, until, with_bus
from tests.serve.journal.answers import kept
from tests.serve.local import SERVICE, Cluster
from tests.serve.writes import BARS as BARS_SENT
from tests.serve.writes import accepted


def test_an_event_becomes_one_command_however_often_it_is_published(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        for _ in range(3):
            bus.publisher.synergy(event("syn-1", t, side))
        bus.publisher.synergy(event("syn-2", t, side), want_decision=True)
        bus.publisher.synergy(event("syn-1", t, side))
        (decision,) = await messages(bus.reader, DECISIONS, 1)
        await until(lambda: not any(state.pending or state.lag for state in bus.reader.inputs()))
        commands = [found.message for found in bus.reader.read(COMMANDS)]
        assert [command.event_id for command in commands] == ["syn-1", "syn-2"]
        order = commands[1].execution_command
        assert order == decision.message.answer.decision.execution_command
        assert order.side == ("BUY" if side > 0 else "SELL")
        assert order.metadata.synergy_aligned
        assert bus.reader.read(DEAD) == []
        health = (await cluster.get("/health")).json()["components"]["bus"]["streams"]
        assert (health["connected"], health["reads"], health["dead_letters"]) == (True, True, 0)
        metrics = (await cluster.get("/metrics")).text
        assert "tactical_bus_connected 1.0" in metrics
        assert "tactical_bus_dead_letters 0.0" in metrics

    with_bus(bundle, tmp_path, bus, work)


def test_what_cannot_be_answered_is_a_dead_letter_with_its_reason(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 1)
        bus.publisher.synergy(event("syn-1", t, side))
        bus.publisher.synergy(event("syn-1", t, -side))
        bus.publisher.synergy(event("syn-2", t, market_context={"symbol": "OTHER"}))
        bus.publisher.publish_fields(SYNERGIES, {"data": b'{"event_id": "syn-3"'})
        bus.publisher.publish_fields(SYNERGIES, {"data": b'{"event_id": "syn-4"}'})
        bus.publisher.publish_fields(SYNERGIES, {"other": b"x"})
        letters = [found.message for found in await messages(bus.reader, DEAD, 5)]
        assert [letter.code for letter in letters] == [
            "conflict",
            "wrong_symbol",
            "malformed_json",
            "missing_field",
            "missing_field",
        ]
        assert letters[3].fields == {"data": '{"event_id": "syn-4"}'}
        assert [c.message.event_id for c in bus.reader.read(COMMANDS)] == ["syn-1"]

    with_bus(bundle, tmp_path, bus, work)


@pytest.mark.slow
def test_bars_fills_and_events_count_in_the_order_of_their_publication(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade
    bus.publisher.publish(BARS, bars_request(0, t + 1))
    time.sleep(0.002)  # in one millisecond what changes the state comes first
    bus.publisher.synergy(event("syn-1", t, side))
    time.sleep(0.002)
    for later in range(t + 1, t + 1 + BATCH + 20):  # more than one read gives
        bus.publisher.publish(BARS, bars_request(later, later + 1))
    last = t + BATCH + 20
    bus.publisher.fills("TEST", [FillInput("f-1", "BUY", 5.0, 100.0, 180_000)])
    bus.publisher.synergy(event("syn-2", last, -1), want_decision=True)

    async def work(cluster: Cluster) -> None:
        (decision,) = await messages(bus.reader, DECISIONS, 1)
        assert decision.message.event_id == "syn-2"
        assert bus.reader.read(COMMANDS)[0].message.event_id == "syn-1"
        assert cluster.machine().of().market().last_s == BARS_SENT.timestamp_s[last]
        assert cluster.machine().snapshot().account.quantity == 5.0
        await cluster.replica().recorder.stop()
        journal = cluster.replica()._open.journal
        found = {r.caller.request_id: r.state_version for r in kept(journal)}
        # one record for the bundle, one for each entry with bars and for the fill
        assert found == {"syn-1": 2, "syn-2": 2 + BATCH + 20 + 1}

    with_bus(bundle, tmp_path, bus, work)


def test_a_late_event_is_recorded_and_not_traded(
    bundle: Bundle, tmp_path: Path, bus: Bus, trade: tuple[int, int]
) -> None:
    t, side = trade

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, t + 4)
        bus.publisher.synergy(event("syn-1", t, side))  # its third bar was t + 2
        (decision,) = await messages(bus.reader, DECISIONS, 1)
        assert decision.message.answer.decision.reason == "event_late"
        assert bus.reader.read(COMMANDS) == []
        await cluster.replica().recorder.stop()
        (record,) = kept(cluster.replica()._open.journal)
        assert record.answered["decision"]["reason"] == "event_late"
        assert (record.caller.request_id, record.data_issue) == ("syn-1", "event_late")

    with_bus(bundle, tmp_path, bus, work)


def test_a_wrong_clock_of_the_publisher_trades_nothing(
    bundle: Bundle, tmp_path: Path, bus: Bus
) -> None:
    live = replace(SERVICE, live_bars=True)

    async def work(cluster: Cluster) -> None:
        await publish_bars(bus.publisher, 400)
        for name, offset_s in (("ahead", 120.0), ("behind", -1_800.0), ("right", 0.0)):
            moved = event(name, 399, timestamp=time.time() + offset_s)
            bus.publisher.synergy(moved, want_decision=True)
        found = [m.message for m in await messages(bus.reader, DECISIONS, 3)]
        assert [(m.event_id, m.answer.decision.reason) for m in found] == [
            ("ahead", "event_early"),
            ("behind", "event_late"),
            ("right", "data_suspect"),  # all bars are of long ago
        ]

    with_bus(bundle, tmp_path, bus, work, service=live)


def test_alerts_are_published_as_they_change(
    bundle: Bundle, tmp_path: Path, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "ALERTS_EVERY_S", 0.1)

    async def work(cluster: Cluster) -> None:
        def of_the_account() -> list[tuple[str, str]]:
            found = [m.message for m in bus.reader.read(ALERTS)]
            return [(m.change, m.alert.message) for m in found if m.alert.component == "account"]

        text = "an operator's order is in force: pause"
        await accepted(cluster, "/admin/override", {"action": "pause"})
        assert await until(of_the_account) == [("raised", text)]
        await accepted(cluster, "/admin/override", {"action": "resume"})
        await until(lambda: len(of_the_account()) > 1)
        assert of_the_account() == [("raised", text), ("cleared", text)]

    with_bus(bundle, tmp_path, bus, work)

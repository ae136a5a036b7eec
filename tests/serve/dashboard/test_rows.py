"""Bars, fills and records of the state in the words of the page."""

from __future__ import annotations

from msgspec.structs import replace

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.api.page import AuditEntry, GapZone
from serve.api.write_requests import AccountRequest, BrokerAccount, CashMove
from serve.dashboard.rows import audit_entry, page_decision, page_fill, zones_of
from serve.journal.record import Caller, decision_entry, decision_of
from serve.state.bar_streams import BarRow
from serve.state.portfolio import Fill
from serve.state.records import AccountRecord, BarsRecord, ControlRecord, Record, model_record
from serve.state.store import Head, chained
from tests.serve.journal.answers import decisions, plain

ROW = BarRow(0, 100.0, 101.0, 99.0, 100.5, 1.0)


def rows_with_a_gap() -> list[BarRow]:
    """Return quiet bars, then a jump from 101 over 107 that the last bar takes back."""
    quiet = [ROW._replace(time_s=300 * t) for t in range(30)]
    return [
        *quiet,
        BarRow(9_000, 100.5, 110.0, 100.0, 109.0, 1.0),
        BarRow(9_300, 109.0, 110.0, 107.0, 109.5, 1.0),
        BarRow(9_600, 109.5, 110.0, 108.0, 109.0, 1.0),
        BarRow(9_900, 109.0, 109.0, 100.0, 100.5, 1.0),
    ]


def test_a_gap_is_shown_from_its_birth_to_the_bar_before_price_comes_back() -> None:
    rows = rows_with_a_gap()
    assert zones_of(rows, 4) == [GapZone(9_300, 9_600, 101.0, 107.0, True)]
    assert zones_of(rows[:-2], 1) == [GapZone(9_300, 9_300, 101.0, 107.0, True)]
    assert zones_of(rows, 1) == []
    assert zones_of(rows[:2], 2) == []


def test_a_decision_and_its_fill_say_side_caller_and_votes(
    bundle: Bundle, table: FeatureTable
) -> None:
    made = next(d for d in decisions(bundle, table, range(310, 600)) if d.answer.decision.execute)
    caller = Caller(request_id="r-1", address="127.0.0.1", token="desk")
    (stored,) = chained(Head(), [decision_entry(made, 7, caller)])
    found, answer = page_decision(decision_of(stored), 93_000), plain(made)
    command = answer["decision"]["execution_command"]
    assert found.order is not None
    assert (found.order.side, found.order.quantity) == (command["side"], command["quantity"])
    assert (found.bar_s, found.symbol, found.caller) == (93_000, "TEST", "desk 127.0.0.1 r-1")
    votes = answer["agent_breakdown"]
    assert {agent: vote.label for agent, vote in found.votes.items()} == {
        agent: votes[agent]["label"] for agent in found.votes
    }
    fill = page_fill(Fill("f", -1, 2.0, 100.5, 0.4, 93_300.0, found.decision_id), True)
    assert (fill.side, fill.busted, fill.decision_id) == ("SELL", True, found.decision_id)


def test_the_audit_trail_tells_orders_bundles_accounts_and_revisions_only(bundle: Bundle) -> None:
    request = AccountRequest(
        "TEST",
        "r",
        "ann",
        "monthly",
        [CashMove("transfer", 1_500.0), CashMove("funding", -2.5)],
        BrokerAccount(-3.0),
        True,
    )
    records: list[Record | None] = [
        ControlRecord(5.0, "pause", None, "lunch", "ann"),
        model_record(bundle, "first"),
        model_record(bundle),
        replace(model_record(bundle), at_s=4.5, by="bob", note="it earns more"),
        AccountRecord(6.0, request, "digest"),
        BarsRecord(7.0, (ROW, ROW), "late", symbol="TEST"),
        BarsRecord(8.0, (ROW,)),
        None,
    ]
    found: list[AuditEntry | None] = [audit_entry(record, 9, 4.0) for record in records]
    assert [each and (each.kind, each.at_s, each.what) for each in found] == [
        ("control", 5.0, "pause"),
        ("model", 4.0, "start"),
        ("model", 4.0, "promotion"),
        ("model", 4.5, "promotion"),
        ("account", 6.0, "transfer +1,500.00, funding -2.50, broker holds -3, adopted"),
        ("revision", 7.0, "2 bars"),
        None,
        None,
    ]

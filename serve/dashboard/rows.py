"""Bars, decisions, fills and records of the state in the form in which the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from rllib_tactical.domain.features.fvg import MAX_AGE, find_births, gap_zones
from rllib_tactical.domain.features.indicators import BODY_PERIOD
from rllib_tactical.domain.types import AGENTS, Bars
from serve.api.page import (
    AuditEntry,
    ChartBar,
    GapZone,
    PageDecision,
    PageFill,
    PageOrder,
    PageVote,
)
from serve.journal.record import Caller, DecisionRecord
from serve.state.bar_streams import BarRow
from serve.state.portfolio import Fill
from serve.state.records import (
    AUTOMATIC,
    AccountRecord,
    BarsRecord,
    ControlRecord,
    ModelRecord,
    Record,
    time_of,
)

BEFORE_GAPS: Final = MAX_AGE + BODY_PERIOD + 2
"""Bars before the first one shown that decide which gaps are active on it."""


def chart_bars(rows: Sequence[BarRow]) -> list[ChartBar]:
    """Return bars as lists of numbers."""
    return [list(row) for row in rows]


def zones_of(rows: Sequence[BarRow], shown: int) -> list[GapZone]:
    """Return the gaps that are active on some of the last ``shown`` of these bars."""
    if len(rows) < 3:
        return []
    times, *prices = zip(*rows, strict=True)
    bars = Bars(np.array(times), *(np.array(values) for values in prices))
    last = len(rows) - 1
    found = gap_zones(bars, find_births(bars), max(0, len(rows) - shown), last)
    return [
        GapZone(times[zone.born], times[min(zone.last, last)], zone.low, zone.high, zone.bullish)
        for zone in found
    ]


def page_decision(record: DecisionRecord, bar_s: int | None) -> PageDecision:
    """Return a decision of the journal; ``bar_s``: of the newest bar then."""
    answer, account, parts = record.answered, record.account, record.parts
    decision, breakdown = answer["decision"], answer["agent_breakdown"]
    command: dict[str, Any] | None = decision["execution_command"]
    order = None
    if command is not None:
        order = PageOrder(*(command[name] for name in PageOrder.__struct_fields__))
    return PageDecision(
        decision_id=record.decision_id,
        at_s=record.at_s,
        bar_s=bar_s,
        symbol=parts.symbol,
        action=decision["action"],
        execute=decision["execute"],
        reason=decision["reason"],
        source=answer["source"],
        side=decision["side"],
        confidence=decision["confidence"],
        scores=decision["scores"],
        order=order,
        price=parts.price,
        atr=parts.atr,
        votes={
            agent: PageVote(*(breakdown[agent][name] for name in PageVote.__struct_fields__))
            for agent in AGENTS
        },
        bundle_id=answer["bundle_id"],
        equity=account.equity,
        session_peak=account.session_peak,
        position=account.position_side * account.position_quantity,
        halted=account.halted,
        caller=_caller_text(record.caller),
    )


def page_fill(fill: Fill, undone: bool) -> PageFill:
    """Return a fill; ``undone``: it was busted or replaced."""
    return PageFill(
        fill.fill_id,
        "BUY" if fill.side > 0 else "SELL",
        fill.quantity,
        fill.price,
        fill.time_s,
        fill.decision_id,
        undone,
    )


def audit_entry(record: Record | None, sequence: int, before_s: float | None) -> AuditEntry | None:
    """Return what a record says to an operator, None for bars, fills and what has no news.

    ``before_s``: epoch time of the record before, for a record without one of its own.
    """
    if isinstance(record, ControlRecord):
        return AuditEntry(
            sequence=sequence,
            at_s=record.at_s,
            kind="control",
            symbol=record.symbol,
            what=record.action,
            by=record.by,
            note=record.note,
        )
    if isinstance(record, ModelRecord):
        return AuditEntry(
            sequence=sequence,
            at_s=time_of(record, before_s),
            kind="model",
            symbol=record.symbol,
            what=_chosen_by(record),
            by=record.by,
            note=record.note,
            bundle_id=record.bundle_id,
            path=record.path,
        )
    if isinstance(record, AccountRecord):
        request = record.request
        moved = [f"{move.kind} {move.amount:+,.2f}" for move in request.cash]
        broker = [] if request.broker is None else [f"broker holds {request.broker.position:g}"]
        return AuditEntry(
            sequence=sequence,
            at_s=record.at_s,
            kind="account",
            symbol=request.symbol,
            what=", ".join([*moved, *broker, *(["adopted"] if request.adopt else [])]),
            by=request.by,
            note=request.note,
        )
    if isinstance(record, BarsRecord) and record.note:
        return AuditEntry(
            sequence=sequence,
            at_s=record.at_s,
            kind="revision",
            symbol=record.symbol,
            what=f"{len(record.rows)} bars",
            note=record.note,
        )
    return None


def _caller_text(caller: Caller) -> str:
    known = [caller.token, caller.address, caller.request_id]
    return " ".join(filter(None, known))


encode: Final = msgspec.json.Encoder().encode


def _chosen_by(record: ModelRecord) -> str:
    if record.by == AUTOMATIC:
        return "rollback"
    return "promotion" if record.launch is None else "start"

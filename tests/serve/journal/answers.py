"""Decisions made by a bundle without a service, and what a journal holds of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.domain.features.table import FeatureTable
from serve.decision.decider import Decided, Decider
from serve.decision.risk_state import RiskState
from serve.journal.record import DecisionRecord, decision_of
from serve.state.machine import StateMachine
from serve.state.records import model_record
from serve.state.store import Store
from tests.serve.conftest import request_at


def decider_of(bundle: Bundle) -> Decider:
    return Decider(bundle, PerformanceConfig())


def decisions(
    bundle: Bundle, table: FeatureTable, bars: Sequence[int] = range(310, 320), **parts: Any
) -> list[Decided]:
    """Return the decisions on some bars, with no position and an open market."""
    decider = decider_of(bundle)
    account = StateMachine(model_record(bundle, "first")).snapshot().account
    state = RiskState(account, service=ServiceConfig(live_bars=False))
    return [
        decider.answer(json.dumps(request_at(table, t, **parts)).encode(), state, None, float(t))
        for t in bars
    ]


def kept(store: Store) -> list[DecisionRecord]:
    """Return what a journal holds that is not archived."""
    return [decision_of(stored) for stored in store.read_after(0)]


def plain(decided: Decided) -> dict[str, Any]:
    """Return an answer as a client gets it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(decided.answer))
    return found

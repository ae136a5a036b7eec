"""What the service has seen and done, as observations of drift: from its state and its journal."""

from __future__ import annotations

import numpy as np

from rllib_tactical.config.loader import from_dict
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, FloatArray, Instrument, IntArray
from rllib_tactical.monitoring.observations import (
    Observations,
    monitored_inputs,
    session_days,
)
from rllib_tactical.statistics.calibration import right_votes
from serve.journal.reading import read_decisions
from serve.journal.record import DecisionRecord
from serve.state.history import load
from serve.state.opening import open_store
from serve.state.performance import votes_table
from serve.state.portfolio import Trade
from serve.state.seen_bars import SeenBars
from serve.state.store import records_after
from serve.state.symbol_machine import SymbolMachine


def observe_state(name: str, symbol: str, bundle_id: str) -> Observations | None:
    """Return what one bundle of a service has seen and decided, in whole sessions.

    Decisions are those of the journal; trades those of the reported fills. A decision belongs to
    the session of the newest bar that was known. None while there are too few bars for features.

    Args:
        name: of the state, from ``find_state``.
        symbol: one of it.
        bundle_id: of the bundle whose decisions and trades count.

    Raises:
        StoreError: state or journal cannot be read.
        DamagedError: they are not what was written.
    """
    store = open_store(name)
    try:
        machine, _, _ = load(store)
        if machine is None or symbol not in machine.symbols:
            return None
        own = machine.symbols[symbol]
        instrument = from_dict(Instrument, own.model.instrument, "instrument")
        seen = SeenBars(instrument, own.model.bar_seconds)
        for stored in records_after(store, 0):
            seen.add(stored)
    finally:
        store.close()
    history = seen.history()
    if history is None:
        return None
    decided = [
        record
        for record in read_decisions(name, symbol=symbol)
        if record.answered["bundle_id"] == bundle_id
    ]
    decided.sort(key=lambda record: record.at_s)  # orders are written before earlier holds
    trades = [trade for trade in own.trades if trade.bundle_id == bundle_id]
    return _observations(history, seen, own, decided, trades)


def _observations(
    history: MarketHistory,
    seen: SeenBars,
    own: SymbolMachine,
    decided: list[DecisionRecord],
    trades: list[Trade],
) -> Observations:
    day = session_days(history)
    bar = np.arange(history.first_decision, len(history))
    if history.sessions.elapsed[-1] < 1.0:  # it goes on
        bar = bar[day[bar] != day[-1]]
    whole = set(day[bar].tolist())
    newest = [seen.newest(record.state_version) or 0 for record in decided]
    when = _sessions(history, day, np.array(newest, dtype=np.int64))
    kept = [row for row, session in enumerate(when.tolist()) if session in whole]
    answers = [decided[row].answered for row in kept]
    ended = _sessions(history, day, np.array([int(t.exit_s) for t in trades], dtype=np.int64))
    closed = [row for row, session in enumerate(ended.tolist()) if session in whole]
    made = [trades[row] for row in closed]
    score, slippage = _of_entries(own, decided, made)
    return Observations(
        bar_session=day[bar],
        inputs=monitored_inputs(history.features)[bar],
        decision_session=when[kept],
        confidence=np.array([a["decision"]["confidence"] for a in answers], dtype=np.float64),
        votes=np.array(
            [[a["agent_breakdown"][agent]["action"] for agent in AGENTS] for a in answers],
            dtype=np.int64,
        ).reshape(-1, len(AGENTS)),
        trade_session=ended[closed],
        pnl=np.array([trade.pnl for trade in made], dtype=np.float64),
        score=score,
        right=_right(made),
        slippage=slippage,
    )


def _sessions(history: MarketHistory, day: IntArray, time_s: IntArray) -> IntArray:
    """Return the session of the last bar that opens at or before each time, -1 before all."""
    place = np.searchsorted(history.bars.timestamp_s, time_s, side="right") - 1
    return np.where(place >= 0, day[np.maximum(place, 0)], -1)


def _of_entries(
    own: SymbolMachine, decided: list[DecisionRecord], trades: list[Trade]
) -> tuple[FloatArray, FloatArray]:
    """Return confidence and slippage of the entry of each trade, NaN where they are not known."""
    by_id = {record.decision_id: record for record in decided}
    entries = {
        (fill.time_s, fill.side): (fill, by_id[fill.decision_id])
        for fill in own.fills
        if fill.decision_id in by_id
    }
    score, slippage = np.full((2, len(trades)), np.nan)
    for row, trade in enumerate(trades):
        if (found := entries.get((trade.entry_s, trade.side))) is None:
            continue
        fill, record = found
        price = record.parts.price
        score[row] = record.answered["decision"]["confidence"]
        slippage[row] = fill.side * (fill.price - price) / price
    return score, slippage


def _right(trades: list[Trade]) -> FloatArray:
    """Return the share of agents whose vote was right, NaN where votes are not known."""
    right = np.full(len(trades), np.nan)
    known = [row for row, trade in enumerate(trades) if trade.votes is not None]
    if known:
        found = right_votes(votes_table([trades[row] for row in known]))
        right[known] = np.mean([found[agent] for agent in AGENTS], axis=0)
    return right

"""What the service has seen and done, as observations of drift: from its state and its journal."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rllib_tactical.config.loader import from_dict
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory, build_history
from rllib_tactical.domain.types import AGENTS, Bars, FloatArray, Instrument, IntArray
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
from serve.state.records import BarsRecord, record_of
from serve.state.store import Store, StoredRecord, unpack
from serve.state.symbol_machine import SymbolMachine


@dataclass(frozen=True, slots=True)
class Seen:
    """The bars of a symbol, and after which record of the store which of them was the newest.

    ``sequence`` (R,) and ``newest_s`` (R,) int64, ascending: record and open time of its last bar.
    """

    history: MarketHistory
    sequence: IntArray
    newest_s: IntArray


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
        seen = _seen(store, own)
    finally:
        store.close()
    if seen is None:
        return None
    decided = [
        record
        for record in read_decisions(name, symbol=symbol)
        if record.answered["bundle_id"] == bundle_id
    ]
    decided.sort(key=lambda record: record.at_s)  # orders are written before earlier holds
    trades = [trade for trade in own.trades if trade.bundle_id == bundle_id]
    return _observations(seen, own, decided, trades)


def _seen(store: Store, own: SymbolMachine) -> Seen | None:
    image = store.image(archives=True)
    rows: dict[int, tuple[float, ...]] = {}
    sequence, newest = [], []
    for stored in _records(image.records, map(unpack, image.archives)):
        record = record_of(stored)
        if isinstance(record, BarsRecord) and record.symbol in (None, own.symbol) and record.rows:
            rows |= {row.time_s: tuple(row)[1:] for row in record.rows}
            sequence.append(stored.sequence)
            newest.append(max(rows))
    if len(rows) <= EMBARGO_BARS:
        return None
    time_s = np.array(sorted(rows), dtype=np.int64)
    columns = np.array([rows[t] for t in time_s.tolist()], dtype=np.float64).T.copy()
    bars = Bars(time_s, *columns)
    instrument = from_dict(Instrument, own.model.instrument, "instrument")
    sessions = sessions_of(bars, instrument, own.model.bar_seconds)
    return Seen(build_history(bars, sessions, instrument), np.array(sequence), np.array(newest))


def _records(
    live: list[StoredRecord], archived: Iterable[list[StoredRecord]]
) -> Iterable[StoredRecord]:
    return chain(chain.from_iterable(archived), live)


def _observations(
    seen: Seen, own: SymbolMachine, decided: list[DecisionRecord], trades: list[Trade]
) -> Observations:
    history = seen.history
    day = session_days(history)
    bar = np.arange(history.first_decision, len(history))
    if history.sessions.elapsed[-1] < 1.0:  # it goes on
        bar = bar[day[bar] != day[-1]]
    whole = set(day[bar].tolist())
    newest = [_newest(seen, record.state_version) for record in decided]
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


def _newest(seen: Seen, version: int) -> int:
    """Return the open time of the newest bar in the state at a version, 0 for none."""
    place = bisect_right(seen.sequence, version) - 1
    return int(seen.newest_s[place]) if place >= 0 else 0


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

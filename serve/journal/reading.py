"""Read the journal of decisions: filtered, as records and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import DataError, UsageError
from serve.journal.record import DecisionRecord, decision_of, input_of
from serve.state.inspection import find_state
from serve.state.opening import is_remote, journal_name, open_journal
from serve.state.sqlite_store import FILE_NAME
from serve.state.store import unpack

_SHOWN_ID: Final = 12


def find_journal(where: str, symbol: str | None = None) -> str:
    """Return the name of the state at ``where`` that has a journal, see ``find_state``.

    Args:
        where: the folder of a state, the folder around several, or a server's URL.
        symbol: which of several.

    Raises:
        UsageError: there is none.
    """
    name = find_state(where, symbol)
    if not is_remote(name) and not (Path(journal_name(name)) / FILE_NAME).is_file():
        raise UsageError(f"--state must hold a journal of decisions, found none: {name}")
    return name


def read_decisions(
    name: str,
    start_s: float | None = None,
    end_s: float | None = None,
    symbol: str | None = None,
) -> Iterator[DecisionRecord]:
    """Yield the decisions beside a state in the order in which they were written, each id once.

    Args:
        name: of the state, from ``find_journal``.
        start_s: epoch time of the first decision; all from the first on when omitted.
        end_s: epoch time before which the decisions are; all to the last when omitted.
        symbol: all symbols when omitted.

    Raises:
        DamagedError: the journal is not what was written to it.
        StoreError: it cannot be read.
    """
    journal = open_journal(name)
    try:
        image = journal.image(archives=True)
    finally:
        journal.close()
    seen: set[str] = set()
    for part in [*map(unpack, image.archives), image.records]:
        for stored in part:
            record = decision_of(stored)
            if record.decision_id in seen:
                continue
            if start_s is not None and record.at_s < start_s:
                continue
            if end_s is not None and record.at_s >= end_s:
                continue
            if symbol is not None and record.parts.symbol != symbol:
                continue
            seen.add(record.decision_id)
            yield record


def find_decision(name: str, decision_id: str) -> DecisionRecord:
    """Return the one decision whose id begins with ``decision_id``.

    Raises:
        DataError: there is none, or there are several.
    """
    found = [r for r in read_decisions(name) if r.decision_id.startswith(decision_id)]
    if len(found) != 1:
        raise DataError(
            f"DECISION_ID must begin the id of one decision, found {len(found)}: {decision_id}"
        )
    return found[0]


def row_of(record: DecisionRecord) -> dict[str, Any]:
    """Return a decision as the row of a table; ``matrix`` has 60 lists of 7, None for bars."""
    parts, answer = record.parts, record.answered
    decision, breakdown = answer["decision"], answer["agent_breakdown"]
    command = decision["execution_command"] or {}
    row = {
        "time": datetime.fromtimestamp(record.at_s, UTC),
        "decision_id": record.decision_id,
        "symbol": parts.symbol,
        "action": decision["action"],
        "execute": decision["execute"],
        "reason": decision["reason"],
        "source": answer["source"],
        "side": decision["side"],
        "confidence": decision["confidence"],
        **{f"score_{name}": score for name, score in decision["scores"].items()},
        "order_side": command.get("side"),
        "quantity": command.get("quantity"),
        "stop_loss": command.get("stop_loss"),
        "take_profit": command.get("take_profit"),
        "price": parts.price,
        "atr": parts.atr,
        "synergy_kind": record.synergy_kind,
        "synergy_direction": record.synergy_direction,
        "synergy": None if parts.synergy is None else msgspec.json.encode(parts.synergy).decode(),
        "overrides": msgspec.json.encode(parts.overrides).decode(),
    }
    for agent in AGENTS:
        row[f"{agent}_vote"] = breakdown[agent]["label"]
        row[f"{agent}_probabilities"] = breakdown[agent]["probabilities"]
    return {
        **row,
        **msgspec.structs.asdict(record.account),
        "after_gap": record.after_gap,
        "control": record.control.value,
        "data_issue": record.data_issue,
        "bundle_id": answer["bundle_id"],
        "state_version": record.state_version,
        **msgspec.structs.asdict(record.caller),
        "matrix": None if record.matrix is None else input_of(record).matrix.tolist(),
    }


def line_of(record: DecisionRecord) -> str:
    """Return a decision as one line for people."""
    row = row_of(record)
    order = f" {row['order_side']} {row['quantity']:g}" if row["order_side"] else ""
    votes = "/".join(row[f"{agent}_vote"] for agent in AGENTS)
    who = " from ".join(filter(None, (row["token"], row["address"]))) or "-"
    return (
        f"{row['time'].isoformat(timespec='seconds')}  {record.decision_id[:_SHOWN_ID]}  "
        f"{row['symbol']}  {row['action']:<5}  {row['reason']}{order}  "
        f"{votes}  {row['source']}  {who}"
    )


def write_parquet(records: Iterator[DecisionRecord], path: Path) -> int:
    """Write decisions to a Parquet file; return how many.

    Raises:
        UsageError: the file cannot be written.
    """
    import pyarrow as pa  # only where it is used: it takes a while to import
    import pyarrow.parquet as pq

    rows = [row_of(record) for record in records]
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except OSError as error:
        raise UsageError(f"--parquet must be a file that can be written: {error}") from error
    return len(rows)


def epoch_s(text: str, option: str) -> float:
    """Return the epoch time of an ISO-8601 date or time; UTC where it names no zone.

    Raises:
        UsageError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} must be an ISO-8601 date or time, found {text}") from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()

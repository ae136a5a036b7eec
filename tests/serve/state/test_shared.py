"""Processes that share a state: each follows what any of them writes, and no write is lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.write_requests import (
    AccountRequest,
    BarInput,
    BarsRequest,
    BrokerAccount,
    CashMove,
    FillInput,
    FillsRequest,
)
from serve.state.history import SNAPSHOT_EVERY, check_image
from serve.state.machine import StateMachine
from serve.state.opening import shared_state
from serve.state.records import ControlRecord, ModelRecord, Record, entry_of, model_record
from serve.state.shared import SharedState
from serve.state.sqlite_store import SqliteStore
from serve.state.store import StoreError
from tests.serve.state.stores import KINDS, any_store, reopened


@contextmanager
def shared(folder: Path, model: ModelRecord) -> Iterator[SharedState]:
    store = SqliteStore(folder)
    try:
        yield shared_state(store, model)
    finally:
        store.close()


def paused(number: int) -> Record:
    return ControlRecord(float(number), "pause", f"request-{number}")


@pytest.mark.parametrize("kind", KINDS)
def test_each_process_follows_the_others(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    model = model_record(bundle, "first")

    async def write(one: SharedState, other: SharedState) -> None:
        for number in range(20):
            await one.write(lambda number=number: paused(number))  # type: ignore[misc]
            assert other.refresh()
            assert not other.refresh()
            assert one.machine.dump() == other.machine.dump()
            one, other = other, one

    with any_store(kind, tmp_path) as store:
        other = reopened(store)
        asyncio.run(write(shared_state(store, model), shared_state(other, model)))
        other.close()


def test_a_write_is_checked_again_when_another_came_first(bundle: Bundle, tmp_path: Path) -> None:
    model = model_record(bundle, "first")
    asked: list[int] = []

    async def work(one: SharedState, other: SharedState) -> None:
        def check() -> Record | None:
            asked.append(one.machine.version)
            if len(asked) == 1:  # the other writes between the check and the append
                other.store.append(1, [entry_of(paused(1))])
            return None if "request-1" in one.machine._requests.image() else paused(1)

        assert not await one.write(check)
        assert asked == [1, 2]
        assert one.store.version() == 2

    with shared(tmp_path, model) as one, shared(tmp_path, model) as other:
        asyncio.run(work(one, other))


def test_a_store_that_goes_back_is_never_followed_again(bundle: Bundle, tmp_path: Path) -> None:
    with shared(tmp_path, model_record(bundle, "first")) as state:
        asyncio.run(state.write(lambda: paused(1)))
        other = SqliteStore(tmp_path)
        other._writer.execute("UPDATE head SET sequence = 1")
        for _ in range(2):
            with pytest.raises(StoreError, match="went back from 2 to 1"):
                state.refresh()
        assert state.broken
        other.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET data = X'7B7D' WHERE sequence = 2",
        "DELETE FROM records WHERE sequence = 2",
        "DELETE FROM head",
    ],
)
def test_a_record_that_does_not_follow_is_refused_while_running(
    bundle: Bundle, tmp_path: Path, statement: str
) -> None:
    with shared(tmp_path, model_record(bundle, "first")) as state:
        other = SqliteStore(tmp_path)
        other.append(1, [entry_of(paused(1))])
        other._writer.execute(statement)
        with pytest.raises(StoreError, match="tactical state verify"):
            state.refresh()
        assert state.broken
        other.close()


def test_a_snapshot_is_written_now_and_then(bundle: Bundle, tmp_path: Path) -> None:
    async def work(state: SharedState) -> None:
        for number in range(SNAPSHOT_EVERY - 2):
            await state.write(lambda number=number: paused(number))  # type: ignore[misc]
            await state.keep_short()
        assert state.store.latest_snapshot() is None
        await state.write(lambda: paused(-1))
        await state.keep_short()

    model = model_record(bundle, "first")
    with shared(tmp_path, model) as state:
        asyncio.run(work(state))
        snapshot = state.store.latest_snapshot()
        assert snapshot is not None
        assert snapshot.sequence == SNAPSHOT_EVERY
        assert StateMachine.load(snapshot.data).dump() == state.machine.dump()


def test_what_a_service_is_started_with_counts_when_it_changes(
    bundle: Bundle, tmp_path: Path
) -> None:
    first = model_record(bundle, "first")
    second = replace(first, bundle_id="2" * 64)
    promoted = replace(first, bundle_id="3" * 64, launch=None)

    def started(model: ModelRecord) -> tuple[str, int, bool]:
        with shared(tmp_path, model) as state:
            machine, model = state.machine, state.machine.of().model
            return model.bundle_id, machine.version, model.live_bars

    assert started(first) == (first.bundle_id, 1, True)
    assert started(replace(first, launch="again")) == (first.bundle_id, 1, True)
    with shared(tmp_path, first) as state:
        asyncio.run(state.write(lambda: promoted))
    assert started(first) == (promoted.bundle_id, 2, True)
    assert started(replace(first, live_bars=False)) == (promoted.bundle_id, 3, False)
    assert started(replace(second, live_bars=False)) == (second.bundle_id, 4, False)
    assert started(replace(first, live_bars=False)) == (first.bundle_id, 5, False)
    moved = replace(first, live_bars=False, path="elsewhere")
    assert started(moved) == (first.bundle_id, 6, False)
    with shared(tmp_path, moved) as state:
        assert state.machine.of().model.path == "elsewhere"
    foreign = replace(second, bar_seconds=60, instrument=first.instrument | {"symbol": "OTHER"})
    with pytest.raises(ServiceError, match="symbol 'OTHER' instead of 'TEST', bars of 60 s") as no:
        started(foreign)
    assert str(no.value).startswith(f"state folder {tmp_path}: ")


ONLY_SAVE_TIME = {"_checkpoints", "_seen", "_placed"}


def plain(value: Any) -> Any:
    """Return an object with all that it holds as plain values."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, str | bytes | int | float | None):
        return value
    if hasattr(value, "__dict__"):
        kept = {key: part for key, part in vars(value).items() if key not in ONLY_SAVE_TIME}
        return {key: plain(part) for key, part in kept.items()}
    if isinstance(value, set):
        return sorted(value)
    try:
        return [plain(part) for part in value]
    except TypeError:
        return repr(value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_machine_goes_on_from_its_image_bit_for_bit(bundle: Bundle, seed: int) -> None:
    """Everything that a machine holds, whatever it is, is in the image."""
    rng = np.random.default_rng(seed)
    machine = StateMachine(model_record(bundle, "first", live_bars=bool(seed % 2)))
    copy = StateMachine.load(machine.dump())
    time_s, price = 1_700_000_100, 100.0
    for step in range(400):
        price *= float(np.exp(rng.normal(0.0, 0.004)))
        time_s += 300 * (1 + (rng.random() < 0.02))
        high, low = price * (1 + rng.random() / 300), price * (1 - rng.random() / 300)
        bar = BarInput(time_s, price, high, low, (high + low) / 2, float(rng.integers(1, 99)))
        now_s = time_s + 400.0
        records: list[Record | None] = [machine.check_bars(BarsRequest("TEST", [bar]), now_s)[0]]
        if step > 20 and step % 11 == 0:
            wrong = replace(bar, timestamp=time_s - 300 * (1 + step % 19))
            with suppress(RequestError):  # a bar that is missing
                revision = BarsRequest("TEST", [wrong], revise=True, note="late print")
                records.append(machine.check_bars(revision, now_s)[0])
        if rng.random() < 0.3:
            side: Any = "BUY" if rng.random() < 0.5 else "SELL"
            given = FillInput(f"fill-{step}", side, float(rng.integers(1, 9)), price, time_s + 300)
            records.append(machine.check_fills(FillsRequest("TEST", [given]), now_s)[0])
        if step % 37 == 5:
            moved = [CashMove(("transfer", "funding")[step % 2], float(step - 150))]
            told = BrokerAccount(float(step % 5), 99_000.0 + step if step % 3 else None, price)
            said = AccountRequest("TEST", f"{step}", "ops", "daily", moved, told, step % 2 == 0)
            records.append(machine.check_account(said, now_s))
        if rng.random() < 0.05:
            records.append(ControlRecord(now_s, "pause", f"request-{step}"))
        for record in records:
            machine.apply(record)
            copy.apply(record)
        if rng.random() < 0.2:
            copy = StateMachine.load(copy.dump())
            assert plain(copy) == plain(machine)
    assert copy.snapshot() == machine.snapshot()
    assert len(machine.of().trades) > 5


WRITER = """
import sys
from pathlib import Path
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Entry
store = SqliteStore(Path(sys.argv[1]))
while True:
    (record,) = store.append(store.version(), [Entry("state", b'"' + b"x" * 3000 + b'"')])
    print(record.sequence, record.hash, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_it_answered(tmp_path: Path, project_root: Path) -> None:
    """Killed at any moment it leaves whole records, a head that fits, and no lock."""
    answered: dict[int, str] = {}
    for kill in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(project_root)},
            text=True,
        )
        assert process.stdout is not None
        for _ in range(5 + 7 * kill):
            number, known = process.stdout.readline().split()
            answered[int(number)] = known
        process.kill()
        for line in process.stdout.read().splitlines():
            number, _, known = line.partition(" ")
            if len(known) == 64:
                answered[int(number)] = known
        process.wait()
        process.stdout.close()
        store = SqliteStore(tmp_path)
        image = store.image()
        assert check_image(image) is None
        found = {record.sequence: record.hash for record in image.records}
        assert answered.items() <= found.items()
        assert {len(bytes(record.data)) for record in image.records} == {3002}
        store.close()
    assert len(answered) > 12 * 5

"""Every decision is kept once: orders before they leave, holds soon, losses counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.journal import recorder
from serve.journal.record import Caller
from serve.journal.recorder import DecisionRecorder
from serve.state.history import check_image
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Store, StoreError
from tests.serve.journal.answers import decisions, kept, plain
from tests.serve.local import Lost
from tests.serve.state.stores import KINDS, any_store

CALLER = Caller(request_id="r")


def recording(
    store: Store,
    work: Callable[[DecisionRecorder], Awaitable[None]],
    max_bytes: int = recorder.MAX_BYTES,
) -> DecisionRecorder:
    """Run ``work`` with a recorder that is stopped afterwards."""

    async def run() -> DecisionRecorder:
        made = DecisionRecorder(store, max_bytes=max_bytes)
        made.start()
        try:
            await work(made)
        finally:
            await made.stop()
        return made

    return asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_is_in_the_store_when_it_is_secure_and_a_repeat_is_one_record(
    kind: str, bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    first, second = decisions(bundle, table, [310, 311])

    async def work(made: DecisionRecorder) -> None:
        await asyncio.gather(*(made.secure(first, 1, CALLER) for _ in range(5)))
        assert [record.answered for record in kept(store)] == [plain(first)]
        await made.secure(second, 2, CALLER)
        assert [record.state_version for record in kept(store)] == [1, 2]
        await made.secure(first, 3, CALLER)
        made.keep(second, 3, CALLER)

    with any_store(kind, tmp_path) as store:
        recording(store, work)
        recording(store, lambda made: made.secure(first, 4, CALLER))  # after a restart
        assert [record.state_version for record in kept(store)] == [1, 2]
        assert store.size() > 0


@pytest.mark.slow
def test_holds_are_written_within_a_second_and_at_the_end(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    made = decisions(bundle, table, range(310, 510))
    store = SqliteStore(tmp_path)

    async def work(recorder: DecisionRecorder) -> None:
        recorder.keep(made[0], 1, CALLER)
        assert recorder.health.waiting == 1
        await asyncio.sleep(1.0)
        assert len(kept(store)) == 1
        for decided in made[1:]:
            recorder.keep(decided, 1, CALLER)

    ended = recording(store, work)
    assert [record.answered for record in kept(store)] == [plain(decided) for decided in made]
    assert (ended.health.lost, ended.health.waiting, ended.health.failure) == (0, 0, None)
    store.close()


@pytest.mark.slow
def test_what_the_store_does_not_take_waits_and_is_counted_when_it_is_lost(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FLUSH_S", 0.05)
    monkeypatch.setattr(recorder, "QUEUE", 4)
    made = decisions(bundle, table, range(310, 320))
    store = SqliteStore(tmp_path)

    async def work(recorder: DecisionRecorder) -> None:
        with Lost(store, "append"):
            with pytest.raises(StoreError, match="the disk is full"):
                await recorder.secure(made[0], 1, CALLER)
            for decided in made[1:7]:
                recorder.keep(decided, 1, CALLER)
            await asyncio.sleep(0.3)
            assert recorder.health.failure == "the disk is full"
            assert (recorder.health.waiting, recorder.health.lost) == (4, 2)
            assert recorder.health.recent
        await asyncio.sleep(0.3)
        assert (recorder.health.waiting, recorder.health.failure) == (0, None)
        assert [record.answered for record in kept(store)] == [plain(d) for d in made[1:5]]

    async def at_the_end(recorder: DecisionRecorder) -> None:
        monkeypatch.setattr(store, "append", fail)
        recorder.keep(made[9], 1, CALLER)

    def fail(*arguments: object) -> list[object]:
        raise StoreError("gone")

    recording(store, work)
    assert recording(store, at_the_end).health.lost == 1
    store.close()


def test_an_order_that_no_longer_waits_is_not_written(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    (made,) = decisions(bundle, table, [310])
    store = SqliteStore(tmp_path)

    async def work(recorder: DecisionRecorder) -> None:
        waiting = asyncio.ensure_future(recorder.secure(made, 1, CALLER))
        await asyncio.sleep(0)
        waiting.cancel()

    recording(store, work)
    assert kept(store) == []
    store.close()


def test_old_decisions_are_archived_and_holds_are_not_kept_in_a_full_journal(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LIVE_DECISIONS", 10)
    monkeypatch.setattr(recorder, "BATCH", 5)
    made = decisions(bundle, table, range(310, 360))
    store = SqliteStore(tmp_path)

    async def holds(recorder: DecisionRecorder) -> None:
        for decided in made:
            recorder.keep(decided, 1, CALLER)

    recording(store, holds)
    image = store.image(archives=True)
    assert check_image(image) is None
    assert image.head.sequence == 50
    assert image.head.archived > 0
    assert len(image.records) <= 25

    async def full(recorder: DecisionRecorder) -> None:
        (hold, order) = decisions(bundle, table, [360, 361])
        recorder.keep(hold, 1, CALLER)
        await recorder.secure(order, 1, CALLER)

    assert recording(store, full, max_bytes=1).health.lost == 1
    assert store.head().sequence == 51
    store.close()

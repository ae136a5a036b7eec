"""Writes are noted for what came of them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.decision.commits import Commits
from serve.state.availability import Availability
from serve.state.opening import open_store, shared_state
from serve.state.records import model_record
from serve.state.store import StoreError
from tests.serve.local import Lost
from tests.serve.state.test_shared import paused


def test_what_comes_of_a_write_is_noted(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    store = open_store(str(tmp_path))
    availability = Availability(2.0, lambda: now[0])
    commit = Commits(shared_state(store, model_record(bundle, "first")), availability)

    async def run() -> None:
        now[0] += 1.0
        assert not await commit(lambda: None)
        assert availability.age_s == 1.0  # nothing was written
        assert await commit(lambda: paused(1))
        assert availability.age_s == 0.0
        with Lost(store, "append"), pytest.raises(StoreError, match="the disk is full"):
            await commit(lambda: paused(2))
        assert (availability.ok, availability.failure) == (False, "the disk is full")
        assert await commit(lambda: paused(2))
        assert availability.ok
        now[0] += 2.0
        with pytest.raises(StoreError, match="the store does not answer"):
            await commit(lambda: paused(3))

    asyncio.run(run())
    with caplog.at_level(logging.INFO, logger="serve"):
        commit.log("pause", by="ann")
    assert caplog.records[-1].fields == {"version": 3, "by": "ann"}  # type: ignore[attr-defined]
    store.close()

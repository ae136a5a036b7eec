"""When the store counts as lost."""

from __future__ import annotations

import logging

import pytest

from serve.state.availability import Availability
from serve.state.store import StoreError


def test_it_lasts_for_a_lease_after_each_write() -> None:
    now = [100.0]
    state = Availability(2.0, lambda: now[0])
    assert (state.ok, state.due, state.hangs, state.age_s) == (True, False, False, 0.0)
    now[0] = 100.5
    assert (state.ok, state.due) == (True, True)
    state.succeeded(100.25)
    assert (state.age_s, state.due) == (0.25, False)
    now[0] = 102.25
    assert (state.ok, state.hangs) == (False, True)
    state.succeeded(102.0)
    assert state.ok
    state.succeeded(101.0)  # an older one that ended later
    assert state.age_s == 0.25


def test_a_failure_ends_it_at_once_until_a_write_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    state = Availability(2.0, lambda: now[0])
    with caplog.at_level(logging.WARNING):
        state.failed(StoreError("the disk is full"))
        state.failed(TimeoutError())
        assert (state.ok, state.hangs, state.due) == (False, False, True)
        assert state.failure == "TimeoutError"
        state.succeeded(0.0)
    assert state.ok
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "the disk is full" in caplog.text

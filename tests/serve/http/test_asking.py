"""A request waits for the state no longer than it may."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from serve.decision.writer import Reply
from serve.http.asking import ask, unavailable


def test_an_answer_is_passed_on_and_a_late_one_is_a_503(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(after_s: float) -> Reply:
        await asyncio.sleep(after_s)
        return 409, b"{}"

    async def run() -> None:
        found = await ask(answer(0.0), 5.0)
        assert (found.status, found.body) == (409, b"{}")
        late = await ask(answer(5.0), 0.01)
        assert (late.status, late.body) == (
            503,
            unavailable("the state did not answer in time; try again").body,
        )

    asyncio.run(run())
    assert msgspec.json.decode(unavailable("x").body)["error"]["code"] == "state_unavailable"
    assert "the state did not answer" in caplog.text

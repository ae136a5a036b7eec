"""One write after the other: checked, made durable, and noted for what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from serve.state.availability import Availability
from serve.state.records import Record
from serve.state.shared import SharedState
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)


class Commits:
    """The writes of one process.

    Args:
        shared: the state.
        availability: told of each write that succeeds or fails.
    """

    def __init__(self, shared: SharedState, availability: Availability) -> None:
        self.shared, self.availability = shared, availability
        self._one = asyncio.Lock()

    async def __call__(self, check: Callable[[], Record | None]) -> bool:
        """Write what ``check`` returns, see ``SharedState.write``, and note what came of it."""
        if self.availability.hangs:
            raise StoreError("the store does not answer")
        async with self._one:
            begun = self.availability.monotonic()
            try:
                written = await self.shared.write(check)
            except StoreError as error:
                self.availability.failed(error)
                raise
        if written:
            self.availability.succeeded(begun)
        return written

    def log(self, what: str, **fields: Any) -> None:
        """Log what was accepted, with the version of the state."""
        fields = {"version": self.shared.machine.version, **fields}
        _LOG.info("%s accepted", what, extra={"fields": fields})

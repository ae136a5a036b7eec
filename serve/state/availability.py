"""Whether the store can be relied on now: since when it has taken no write."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_LOG = logging.getLogger(__name__)


class Availability:
    """Counts from the last write that succeeded; it begins with one.

    Args:
        lease_s: without a write for longer the store counts as lost, whether or not one failed.
        monotonic: seconds that only grow.
    """

    def __init__(self, lease_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lease_s, self.monotonic = lease_s, monotonic
        self._written_at = monotonic()
        self.failure: str | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the begin of the last write that succeeded."""
        return max(0.0, self.monotonic() - self._written_at)

    @property
    def hangs(self) -> bool:
        """Whether writes neither succeed nor fail."""
        return self.failure is None and self.age_s >= self._lease_s

    @property
    def ok(self) -> bool:
        """Whether decisions may rely on the state."""
        return self.failure is None and self.age_s < self._lease_s

    @property
    def due(self) -> bool:
        """Whether it is time to find out by a write."""
        return self.failure is not None or self.age_s >= self._lease_s / 4

    def failed(self, error: Exception) -> None:
        """Note that the store could not be read or written: until a write succeeds it is lost."""
        if self.failure is None:
            _LOG.error("the state is unavailable, decisions hold: %s", error)
        self.failure = str(error) or type(error).__name__

    def succeeded(self, begun: float) -> None:
        """Note that a write that had begun at ``begun`` is durable."""
        if self.failure is not None:
            _LOG.warning("the state is available again")
        self.failure = None
        self._written_at = max(self._written_at, begun)

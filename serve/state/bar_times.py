"""Which bar of a symbol was the newest at a version of the state."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from serve.state.bar_streams import BarRow

READ_BACK: Final = 5_000
"""Records with bars of each symbol whose times are known."""


class BarTimes:
    """Which bar was the newest of a symbol at a version of the state.

    Args:
        kept: how many records of a symbol are known at least, None for all.
    """

    def __init__(self, kept: int | None = READ_BACK) -> None:
        self._kept = kept
        self._versions: dict[str, list[int]] = defaultdict(list)
        self._times: dict[str, list[int]] = defaultdict(list)

    def add(self, version: int, symbol: str, rows: Iterable[BarRow]) -> None:
        """Note the bars of a record."""
        versions, times = self._versions[symbol], self._times[symbol]
        newest = max(row.time_s for row in rows)
        versions.append(version)
        times.append(max(newest, times[-1]) if times else newest)
        if self._kept is not None and len(versions) > 2 * self._kept:
            del versions[: self._kept], times[: self._kept]

    def at(self, version: int, symbol: str) -> int | None:
        """Return the open time of the newest bar, None where it is not known."""
        found = bisect_right(self._versions[symbol], version)
        return self._times[symbol][found - 1] if found else None

"""All bars of a symbol, as the records of a state brought them."""

from __future__ import annotations

import numpy as np

from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory, build_history
from rllib_tactical.domain.types import Bars, Instrument
from serve.state.bar_times import BarTimes
from serve.state.records import BarsRecord, record_of
from serve.state.store import StoredRecord


class SeenBars:
    """The bars of one symbol; one that was revised has its newest values.

    Args:
        instrument: of the symbol.
        bar_seconds: length of a bar.
    """

    def __init__(self, instrument: Instrument, bar_seconds: int) -> None:
        self._instrument, self._bar_seconds = instrument, bar_seconds
        self._rows: dict[int, tuple[float, ...]] = {}
        self._times = BarTimes(kept=None)

    def add(self, stored: StoredRecord) -> bool:
        """Take the next record of the state; return whether it has bars of the symbol.

        Raises:
            DamagedError: another version wrote it.
        """
        record, symbol = record_of(stored), self._instrument.symbol
        # those of older versions name no symbol
        if not isinstance(record, BarsRecord) or record.symbol not in (None, symbol):
            return False
        if record.rows:
            self._rows |= {row.time_s: tuple(row)[1:] for row in record.rows}
            self._times.add(stored.sequence, symbol, record.rows)
        return bool(record.rows)

    def newest(self, version: int) -> int | None:
        """Return the open time of the newest bar in the state at a version, None without one."""
        return self._times.at(version, self._instrument.symbol)

    def history(self) -> MarketHistory | None:
        """Return the bars with all that is known of them, None while there are too few."""
        if len(self._rows) <= EMBARGO_BARS:
            return None
        time_s = np.array(sorted(self._rows), dtype=np.int64)
        columns = np.array([self._rows[t] for t in time_s.tolist()], dtype=np.float64).T.copy()
        bars = Bars(time_s, *columns)
        sessions = sessions_of(bars, self._instrument, self._bar_seconds)
        return build_history(bars, sessions, self._instrument)

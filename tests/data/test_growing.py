"""The newest bar of a market that goes on ends a session only where the calendar says so."""

from __future__ import annotations

import numpy as np

from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.growing import as_of_its_last_bar
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars
from tests.contract import parity

HALF_DAY = parity.half_day()


def known(count: int) -> MarketHistory:
    """Return the history of the first bars, as a file of them is read."""
    names = ("timestamp_s", "open", "high", "low", "close", "volume")
    bars = Bars(*(getattr(HALF_DAY.bars, name)[:count] for name in names))
    return build_history(bars, sessions_of(bars, HALF_DAY.instrument), HALF_DAY.instrument)


def test_the_newest_bar_ends_a_session_only_where_the_calendar_says_so() -> None:
    """Thanksgiving's half day included: its last bar is not where it is on other days."""
    whole = sessions_of(HALF_DAY.bars, HALF_DAY.instrument)
    ends = (whole.is_last.nonzero()[0] + 1).tolist()
    ends = [count for count in ends if count > 361]
    for count in (*ends, 370, 390, 461):
        history = known(count)
        assert history.sessions.is_last[-1]  # by hindsight, of what the file has
        now = as_of_its_last_bar(history, 300).sessions
        assert now.is_last[-1] == whole.is_last[count - 1]
        assert (now.is_last[:-1] == history.sessions.is_last[:-1]).all()
    assert len(ends) > 1


def test_around_the_clock_a_session_is_a_day() -> None:
    instrument = load_instrument("BTCUSDT")
    names = ("open", "high", "low", "close", "volume")
    columns = [getattr(HALF_DAY.bars, name)[:400] for name in names]
    start = 1_700_006_400 - 1_700_006_400 % 86_400
    for count, ends in ((400, False), (2 * 288, True)):
        size = min(count, 400)
        first = start + 300 * (count - size)
        bars = Bars(first + 300 * np.arange(size), *columns)
        history = build_history(bars, sessions_of(bars, instrument), instrument)
        assert bool(as_of_its_last_bar(history, 300).sessions.is_last[-1]) == ends

"""What is carried from bar to bar."""

from __future__ import annotations

import msgspec
import pytest

from rllib_tactical.synthetic import make_market
from serve.state.bar_streams import BarRow, BarStreams, StreamsState
from tests.serve.state.test_bars import COLUMNS

MARKET = make_market("regime", 5, 400)
ROWS = [
    BarRow(*(getattr(MARKET.bars, name)[t].item() for name in COLUMNS))
    for t in range(len(MARKET.bars))
    if t not in (350, 351)
]


@pytest.mark.parametrize("part", [1, 7, 400])
def test_bars_at_once_and_in_parts_give_the_same(part: int) -> None:
    whole, parts = (BarStreams(MARKET.instrument, 300) for _ in range(2))
    closed = []
    for start in range(0, len(ROWS), part):
        closed += parts.push(ROWS[start : start + part])
    assert whole.push(ROWS) == closed
    assert whole.state() == parts.state()
    assert whole.state().since_gap == len(ROWS) - 351
    assert (closed[-1].time_s, closed[-1].close) == (ROWS[-1].time_s, ROWS[-1].close)


def test_streams_go_on_from_a_state_that_was_stored() -> None:
    whole, resumed = (BarStreams(MARKET.instrument, 300) for _ in range(2))
    whole.push(ROWS[:370])
    stored = msgspec.msgpack.encode(whole.state())
    resumed.resume(msgspec.msgpack.decode(stored, type=StreamsState))
    assert resumed.push(ROWS[370:]) == whole.push(ROWS[370:])
    assert resumed.state() == whole.state()

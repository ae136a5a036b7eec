from __future__ import annotations

from rllib_tactical.data.io.parse import join_times, parse_time_part
from tests.data.tables import walk_frame


def test_nullable_and_unsigned_epochs() -> None:
    seconds = walk_frame(5)["timestamp"]
    for column in (seconds.astype("uint64"), seconds.astype("Int64"), seconds.astype("uint32")):
        assert (
            join_times([parse_time_part(column)])[0].micros.tolist()
            == (seconds * 1_000_000).tolist()
        )
    gap = seconds.astype("Int64").mask(seconds.index == 2)
    assert join_times([parse_time_part(gap)])[0].bad.tolist() == [False, False, True, False, False]

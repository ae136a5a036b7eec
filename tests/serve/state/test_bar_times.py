from __future__ import annotations

from serve.state.bar_streams import BarRow
from serve.state.bar_times import BarTimes


def bar(time_s: int) -> BarRow:
    return BarRow(time_s, 100.0, 101.0, 99.0, 100.5, 1.0)


def test_the_newest_bar_at_a_version_is_known_as_far_back_as_is_kept() -> None:
    times = BarTimes(kept=2)
    times.add(3, "A", [bar(600), bar(300)])
    times.add(5, "A", [bar(300)])  # a late bar is not the newest
    assert [times.at(version, "A") for version in (2, 3, 4, 9)] == [None, 600, 600, 600]
    assert times.at(9, "B") is None
    for version in (6, 7, 8):
        times.add(version, "A", [bar(300 * version)])
    assert [times.at(version, "A") for version in (5, 6, 8)] == [None, 1_800, 2_400]

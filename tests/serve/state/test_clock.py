"""When the clock is trusted: while it goes on as the monotonic one, or once it is confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError
from serve.state.clock import FILE_NAME, ClockWatch, Witness, _since_boot

NOW = 1_700_000_000.0
BAR_END = NOW - 200.0
BEFORE = Witness(record_s=NOW - 60.0, bar_end_s=BAR_END, resumed=3)


class Clocks:
    """A wall clock and a monotonic one that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wall_s, self.steady_s = folder, NOW, 1_000.0
        self.watch = self.watched()

    def watched(self) -> ClockWatch:
        return ClockWatch(self.folder, 300, lambda: self.wall_s, lambda: self.steady_s)

    def passes(self, seconds: float, wall_s: float | None = None) -> None:
        self.steady_s += seconds
        self.wall_s += seconds if wall_s is None else wall_s


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    return Clocks(tmp_path)


def test_time_that_passes_and_small_steps_are_no_jump(clocks: Clocks) -> None:
    for step in (0.0, 4.9, 4.9, -4.9, 0.0, 4.9, 4.9):
        clocks.passes(3_600.0, 3_600.0 + step)
        assert clocks.watch.jump_s(BEFORE) == 0.0


@pytest.mark.parametrize("jump", [-86_400.0, -6.0, 6.0, 3_600.0, 1e9])
def test_a_jump_lasts_until_the_clock_is_back(clocks: Clocks, jump: float) -> None:
    assert clocks.watch.jump_s(BEFORE) == 0.0
    clocks.passes(100.0, 100.0 + jump)
    for _ in range(3):
        assert clocks.watch.jump_s(BEFORE) == pytest.approx(jump)
        clocks.passes(10_000.0)
    clocks.passes(1.0, 1.0 - jump + 2.0)
    assert clocks.watch.jump_s(BEFORE) == 0.0


@pytest.mark.parametrize(
    ("jump", "age", "trusted"),
    [
        (3_600.0, 0.0, True),
        (-3_600.0, 299.0, True),
        (3_600.0, 301.0, False),
        (-3_600.0, -3_600.0, False),
    ],
)
def test_a_new_bar_confirms_a_clock_by_which_it_has_just_ended(
    clocks: Clocks, jump: float, age: float, trusted: bool
) -> None:
    clocks.watch.jump_s(BEFORE)
    clocks.passes(1.0, 1.0 + jump)
    assert clocks.watch.jump_s(BEFORE) != 0.0
    newer = BEFORE._replace(record_s=clocks.wall_s, bar_end_s=clocks.wall_s - age)
    if age == 299.0:  # it has to be new, however late it ends by a clock that went back
        newer = newer._replace(bar_end_s=BAR_END)
        assert clocks.watch.jump_s(newer) != 0.0
        clocks.passes(3_900.0)
        newer = newer._replace(bar_end_s=clocks.wall_s - age)
    assert (clocks.watch.jump_s(newer) == 0.0) is trusted
    clocks.passes(50_000.0)
    assert (clocks.watch.jump_s(newer) == 0.0) is trusted


def test_a_bar_from_before_the_jump_confirms_nothing(clocks: Clocks) -> None:
    clocks.watch.jump_s(BEFORE)
    clocks.passes(1.0, 51.0)
    for _ in range(3):  # by the wrong clock it has just ended
        assert clocks.watch.jump_s(BEFORE) == pytest.approx(50.0)
    assert clocks.watch.jump_s(BEFORE._replace(bar_end_s=BAR_END + 100.0)) == 0.0


def test_an_operators_resume_confirms_the_clock(clocks: Clocks) -> None:
    clocks.watch.jump_s(BEFORE)
    clocks.passes(1.0, -500.0)
    assert clocks.watch.jump_s(BEFORE) != 0.0
    assert clocks.watch.jump_s(BEFORE._replace(record_s=clocks.wall_s, resumed=4)) == 0.0
    assert clocks.watch.jump_s(BEFORE._replace(record_s=clocks.wall_s, resumed=4)) == 0.0


def test_a_jump_is_seen_across_a_restart_and_by_every_process(clocks: Clocks) -> None:
    clocks.watch.jump_s(BEFORE)
    other = clocks.watched()
    clocks.passes(60.0, 7_260.0)
    clocks.watch.close()
    again = clocks.watched()
    for watch in (again, other, again, other):
        assert watch.jump_s(BEFORE) == pytest.approx(7_200.0)
    assert again.jump_s(BEFORE._replace(resumed=4)) == 0.0
    assert other.jump_s(BEFORE) == 0.0
    assert clocks.watched().jump_s(BEFORE) == 0.0


@pytest.mark.parametrize("content", [b"", b"another-boot 5.0\n", b"\xff\xff", b"x"])
def test_without_knowledge_a_clock_before_the_newest_record_has_jumped(
    clocks: Clocks, content: bytes
) -> None:
    (clocks.folder / FILE_NAME).write_bytes(content)
    later = BEFORE._replace(record_s=NOW + 3_600.0)
    watch = clocks.watched()
    assert watch.jump_s(later) == -3_600.0
    clocks.passes(3_594.0)
    assert watch.jump_s(later) == -6.0
    clocks.passes(2.0)
    assert watch.jump_s(later) == 0.0


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="No such file"):
        ClockWatch(tmp_path / "nowhere", 300)


def test_the_steady_clock_grows() -> None:
    assert 0.0 < _since_boot() <= _since_boot()

"""Books that balance to the cent, whatever is killed: a day here, a week in the benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bench.paper_week import PLACES, paper_week
from rllib_tactical.bench.state_server import server_program, state_server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_day_in_which_everything_is_killed_ends_with_balanced_books(tmp_path: Path) -> None:
    program = server_program()
    assert program is not None
    with state_server(program) as server:
        found = paper_week(server, tmp_path, days=1, speed=10_000.0, kills=3)
    assert set(found.kills) == set(PLACES)
    assert found.sent["entries"] > found.sent["bars"] == 288
    assert found.sent["late"] and found.sent["unreadable"]
    assert found.bars == 288 - found.sent["late"]
    assert found.trades > 10
    assert (found.differ, found.miscounted, found.ended) == (0, 0, 0)
    assert found.apart < 0.005

"""One command for each event, whatever is killed; the benchmark kills 200 times, this a few."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rllib_tactical.bench.bus import publish_bars, scene
from rllib_tactical.bench.bus_crash import ANY_MOMENT, SERVER, STEPS, CrashResult, crash
from rllib_tactical.bench.state_server import server_program, state_server


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sigkill_of_service_and_server_leaves_one_command_for_each_event(tmp_path: Path) -> None:
    program = server_program()
    assert program is not None
    at = scene(tmp_path / "bundle")
    with state_server(program) as server:
        publish_bars(server, at)
        found = crash(
            server, at.bundle.path, tmp_path / "crash", at.make, kills=8, rate=40.0, seed=1
        )
    assert found.kills.total() >= 8
    assert set(found.kills) <= {*STEPS, ANY_MOMENT, SERVER}
    assert found.entries > found.events > 50
    expected = CrashResult(Counter(found.kills), found.events, found.entries)
    assert found == expected  # none is missing, none is there twice, none was put aside

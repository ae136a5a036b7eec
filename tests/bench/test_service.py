from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bench.service import (
    ServiceSize,
    _body,
    _in_process,
    _timed,
    untrained_bundle,
    uvicorn_server,
)
from rllib_tactical.synthetic import make_market

TINY = ServiceSize(decisions=20, requests=40, rate_requests=40)


@pytest.mark.slow
def test_decisions_are_timed_in_the_process_and_on_uvicorn(tmp_path: Path) -> None:
    history = make_market("momentum", 1, 700).history()
    bundle = untrained_bundle(tmp_path / "bundle", history)
    bodies = [_body(history, t) for t in range(400, 420)]
    rows = _in_process(bundle, bodies, TINY)
    assert [row.name for row in rows] == [
        "decision in the process p50",
        "decision in the process p99",
    ]
    assert 0 < rows[0].measurement.median <= rows[1].measurement.median
    with uvicorn_server(bundle.path) as url:
        timed = _timed(url, bodies, TINY)
    assert timed.one.statuses == timed.many.statuses == {200: 40}

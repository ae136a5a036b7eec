"""The section's arithmetic on small servers; it is run whole by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rllib_tactical.bench.load import LoadResult, send_load
from rllib_tactical.bench.requests import matrix_body, numbered, split_by_order, untrained_bundle
from rllib_tactical.bench.servers import plain_server
from rllib_tactical.bench.service import (
    OURS,
    ServiceSize,
    _in_process,
    _in_turns,
    _rates,
    _Running,
    _times_uvicorn,
)
from rllib_tactical.synthetic import make_market
from tests.bench.test_load import OK, server


def result(*latency_ms: float, seconds: float = 1.0) -> LoadResult:
    return LoadResult(latency_ms=list(latency_ms), statuses={200: 3}, seconds=seconds)


def test_ratios_are_of_the_same_round() -> None:
    # twice as busy in the second round: both take twice as long
    timings = {
        OURS: [result(2.0, 3.0, 9.0), result(6.0)],
        "uvicorn": [result(2.0), result(4.0)],
    }
    row = _times_uvicorn("hold", timings, 1.3)
    assert (row.measurement.median, row.measurement.low, row.measurement.high) == (1.5, 1.5, 1.5)
    assert row.met is False


def test_rates_by_hand_and_what_is_not_installed() -> None:
    running = _Running({}, {"litserve": "not installed"}, [], [], [])
    many = {OURS: [result(1.0, 1.0, 1.0, seconds=0.002)], "uvicorn": [result(1.0, seconds=0.001)]}
    row = _rates(many, running)
    assert (row.measurement.median, row.target, row.met) == (1_500.0, 1_200.0, True)
    assert [(other.name, other.measurement is None) for other in row.baselines] == [
        ("uvicorn", False),
        ("litserve", True),
    ]


def test_servers_take_turns() -> None:
    with server([OK]) as first, server([OK]) as second:
        running = _Running({OURS: first, "uvicorn": second}, {}, [], [], [])
        request = b"POST / HTTP/1.1\r\nhost: h\r\n\r\n{}"
        found = _in_turns(running, itertools.repeat(request), 4, 3, 2)
    assert {name: [len(r.latency_ms) for r in results] for name, results in found.items()} == {
        OURS: [4, 4, 4],
        "uvicorn": [4, 4, 4],
    }


@pytest.mark.slow
def test_decisions_are_timed_in_the_process_and_on_uvicorn(tmp_path: Path) -> None:
    history = make_market("momentum", 1, 700).history()
    bundle = untrained_bundle(tmp_path / "bundle", history)
    bodies = [matrix_body(history, t) for t in range(400, 500)]
    rows = _in_process(bundle, bodies, ServiceSize(decisions=20))
    assert [row.name for row in rows] == [
        "decision in the process p50",
        "decision in the process p99",
    ]
    assert 0 < rows[0].measurement.median <= rows[1].measurement.median
    holds, orders = split_by_order(bundle, bodies)
    assert len(holds) + len(orders) == 100
    assert orders
    with plain_server("uvicorn", bundle.path) as url:
        for given, executes in ((holds, b'"execute":false'), (orders, b'"execute":true')):
            found = send_load(
                url, itertools.islice(numbered(given), 20), 1, keep=lambda status, body: True
            )
            assert found.statuses == {200: 20}
            assert all(executes in body for body in found.bodies)

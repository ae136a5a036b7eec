"""Serve with HAProxy, for comparisons."""

from __future__ import annotations

from pathlib import Path

from rllib_tactical.bench.stock_serve import haproxy_flags


def test_haproxy_gets_ports_and_sockets_of_its_own() -> None:
    flags = haproxy_flags(Path("/tmp/tac-abcdefgh"), (20_001, 20_002))
    assert flags["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert flags["RAY_SERVE_HAPROXY_METRICS_PORT"] == "20001"
    assert flags["RAY_SERVE_HAPROXY_STATS_PORT"] == "20002"
    assert "timeout http-request 10s" in flags["RAY_SERVE_HAPROXY_RETRY_ON"]
    assert all(isinstance(value, str) for value in flags.values())  # they become an environment
    for name, value in flags.items():
        if name.endswith("SOCKET_PATH"):
            assert value.startswith("/tmp/tac-abcdefgh/")

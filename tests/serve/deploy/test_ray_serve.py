"""What is decided about Ray Serve before it starts: ports, flags, addresses."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rllib_tactical.errors import ServiceError
from serve.deploy import ray_serve as cluster
from serve.deploy.ray_serve import ServeUse


def test_a_free_port_is_none_that_ray_takes_while_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's own choice is one that Ray's processes may be given a moment later."""
    found = {cluster.reserve_port("127.0.0.1", 0) for _ in range(20)}
    assert len(found) > 10
    assert all(20_000 <= port < 30_000 for port in found)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(cluster, "FREE_PORTS", [taken.getsockname()[1]] * 50)
        assert cluster.reserve_port("127.0.0.1", 0) != taken.getsockname()[1]


def test_a_host_as_it_is_reached_and_as_it_stands_in_a_url() -> None:
    assert [cluster.reachable(host) for host in ("0.0.0.0", "::", "10.0.0.1")] == [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
    ]
    assert [cluster.url_host(host) for host in ("::1", "127.0.0.1")] == ["[::1]", "127.0.0.1"]


def test_the_port_of_rays_metrics_is_one_or_none() -> None:
    assert cluster.metrics_port({}) is None
    assert cluster.metrics_port({"PROMETHEUS_PORT": ""}) is None
    assert cluster.metrics_port({"PROMETHEUS_PORT": "8002"}) == 8002
    for wrong in ("0", "65536", "-1", "http", "80.0"):
        with pytest.raises(ServiceError, match=f"PROMETHEUS_PORT .* found '{wrong}'"):
            cluster.metrics_port({"PROMETHEUS_PORT": wrong})


def test_a_used_port_for_rays_metrics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"cannot listen on 0.0.0.0 port {port}"):
            cluster.connect_ray(metrics=port)


class Starting(BaseHTTPRequestHandler):
    """A service that answers 503 twice before it is ready."""

    left = 2

    def do_GET(self) -> None:
        status = 503 if type(self).left else 200
        type(self).left = max(0, type(self).left - 1)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.mark.slow
def test_the_start_waits_until_the_service_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Starting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster.wait_until_healthy(f"http://127.0.0.1:{server.server_port}/health", steps.append)
        assert steps == [""] * 3  # a signal is noticed between two attempts
        Starting.left = 1_000
        monkeypatch.setattr(cluster, "START_TIMEOUT_S", 0.2)
        with pytest.raises(ServiceError, match=r"did not answer within 0\.2 s: status 503"):
            cluster.wait_until_healthy(f"http://127.0.0.1:{server.server_port}/", steps.append)
        server.shutdown()


def test_an_error_while_stopping_what_half_started_is_ignored() -> None:
    done: list[str] = []

    def stop() -> None:
        done.append("tried")
        raise RuntimeError("it never ran")

    cluster.quietly(stop)
    assert done == ["tried"]


@pytest.mark.parametrize(
    ("uses", "refused", "waited_s"),
    [
        ([ServeUse.GONE], False, 0.0),
        ([ServeUse.OURS] * 20 + [ServeUse.ENDING] * 100 + [ServeUse.GONE], False, 12.0),
        ([ServeUse.OTHER], True, 0.0),
        ([ServeUse.OURS] * 1_000, True, cluster.NOTICED_S),
        ([ServeUse.ENDING] * 1_000, True, cluster.ENDED_S),
        ([ServeUse.ENDING] * 70 + [ServeUse.IDLE], False, 7.0),
        ([ServeUse.IDLE] * 1_000, False, cluster.NOTICED_S),
    ],
)
def test_a_start_waits_for_a_service_that_is_ending_and_no_longer(
    uses: list[ServeUse], refused: bool, waited_s: float
) -> None:
    steps: list[str] = []
    at, found = 0.0, iter(uses)

    def sleep(seconds: float) -> None:
        nonlocal at
        at += seconds

    def wait() -> None:
        cluster.wait_for_free_serve(steps.append, lambda: next(found), lambda: at, sleep)

    if refused:
        with pytest.raises(ServiceError, match="Ray Serve already runs"):
            wait()
    else:
        wait()
    assert at == pytest.approx(waited_s, abs=0.15)
    shown = [step for step in steps if step]
    assert shown == ["waiting for a service that may be ending"] * (waited_s > 0.0)

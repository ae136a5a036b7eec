"""An application on Ray Serve as Serve itself does it: behind HAProxy, in throughput mode."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray import serve as ray_serve

from serve.deploy.ray_serve import (
    APP_NAME,
    QUIET,
    REPLICA_CPUS,
    connect_ray,
    no_progress,
    reserve_port,
    stop_serve,
    wait_until_healthy,
)

REQUEST_TIMEOUT_S: Final = 10
"""What a client has for sending one request."""


def haproxy_flags(folder: Path, ports: tuple[int, int]) -> dict[str, str]:
    """Return Serve's environment with HAProxy and throughput mode, the fastest that Serve has.

    HAProxy's files, with an admin socket that anyone may write to, go into ``folder``, which only
    this user can enter; ``ports`` are for its metrics and its statistics. Serve adds 57 characters
    to ``folder`` and a socket's path may have 97.
    """
    metrics_port, stats_port = ports
    return {
        # a proxy that is not ready after three times this long is killed, and the start fails; on a
        # busy machine it takes longer than the 5 s that Serve gives it
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # A replica that dies with a request: another one answers it, as every request may repeat.
        # HAProxy can only send again what it has whole, so it waits for the body first; Serve has
        # no setting for that option, but writes this value into HAProxy's configuration as it is.
        # Nor has it one for how long a request may take to come in; HAProxy would wait an hour.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response\n"
        "    option http-buffer-request\n"
        f"    timeout http-request {REQUEST_TIMEOUT_S}s",
        # how long a replica goes on answering after it has been told to stop
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


@contextmanager
def start_plain(app: Any, port: int = 0) -> Iterator[str]:
    """Run an ASGI application on Ray Serve behind HAProxy, and yield its address."""
    port = reserve_port("127.0.0.1", port)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="tac-", dir="/tmp"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        started_ray = connect_ray()
        if started_ray:
            cleanup.callback(ray.shutdown)
        cleanup.callback(stop_serve)
        flags = haproxy_flags(folder, (reserve_port("0.0.0.0", 0), reserve_port("0.0.0.0", 0)))
        ray_serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": port},
            logging_config=QUIET,
            # Serve reads its flags where the controller and what it starts run, not in this process
            controller_options={"runtime_env": {"env_vars": flags}},
        )
        deployment = ray_serve.deployment(max_ongoing_requests=1000)(ray_serve.ingress(app)())
        options = {"num_cpus": REPLICA_CPUS, "runtime_env": {"env_vars": flags}}
        ray_serve.run(
            deployment.options(logging_config=QUIET, ray_actor_options=options).bind(),
            name=APP_NAME,
            route_prefix="/",
        )
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(f"{url}/", no_progress)
        yield url

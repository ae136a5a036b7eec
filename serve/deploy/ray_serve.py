"""Ray and Ray Serve around an application: connect, start with the right flags, wait, stop."""

from __future__ import annotations

import logging
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import ray
from ray import serve as ray_serve

from rllib_tactical.errors import ServiceError
from rllib_tactical.runtime.ray_cluster import named_cluster

APP_NAME: Final = "tactical"
START_TIMEOUT_S: Final = 120.0
REPLICA_CPUS: Final = 0.1
FREE_PORTS: Final = range(20_000, 30_000)
"""Where free ports are looked for. The system deals out ports from 32768 on; Ray takes dozens of
them while it starts, and one could be gone before HAProxy listens on it. Serve's replicas are from
30000 on, Ray's workers below 20000."""
QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}

Progress = Callable[[str], None]
"""Called with the next step; with an empty text it only checks whether to continue."""


def no_progress(step: str) -> None:
    """Show nothing and go on."""


def connect_ray() -> bool:
    """Connect to Ray; return whether this call did."""
    if ray.is_initialized():
        refuse_second_serve()
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = named_cluster()
    options: dict[str, Any] = {"address": address}
    if not address:
        cpus = max(2, os.cpu_count() or 1)
        options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        # Ray runs its workers at niceness 15: whatever else the machine does would come first, and
        # a decision would wait for it
        options["_system_config"] = {"worker_niceness": 0}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:
        raise ServiceError(f"Ray could not be started: {error}") from error
    if address:
        refuse_second_serve(disconnect=True)
    return True


def refuse_second_serve(disconnect: bool = False) -> None:
    """Refuse to share a Serve instance: its host, port and flags were fixed when it started."""
    if not ray_serve.status().proxies:
        return
    if disconnect:
        ray.shutdown()
    raise ServiceError("Ray Serve already runs on this Ray instance: stop it first")


def start_serve(host: str, port: int, flags: dict[str, str]) -> None:
    """Start Serve's controller and proxy with ``flags`` in their environment."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port},
        logging_config=QUIET,
        # Serve reads its flags where the controller and what it starts run, not in this process
        controller_options={"runtime_env": {"env_vars": flags}},
    )


REQUEST_TIMEOUT_S: Final = 10
"""What a client has for sending one request."""


def serve_flags(folder: Path, extra_ports: tuple[int, ...]) -> dict[str, str]:
    """Return Serve's environment; with ``extra_ports`` for HAProxy and throughput mode.

    HAProxy's files, with an admin socket that anyone may write to, go into ``folder``, which only
    this user can enter, and its ports are this service's own, so that two services can share a
    machine. Serve adds 57 characters to ``folder`` and a socket's path may have 97.
    """
    # a proxy that is not ready after three times this long is killed, and the start fails; on a
    # busy machine it takes longer than the 5 s that Serve gives it
    flags = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30"}
    if not extra_ports:
        return flags
    metrics_port, stats_port = extra_ports
    return {
        **flags,
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


def reserve_port(host: str, port: int) -> int:
    """Return ``port``, or one of ``FREE_PORTS`` for 0, after trying to listen on it.

    Raises:
        ServiceError: the port is taken or the host is not one of this machine.
    """
    given = _try_port(host, port)
    if port:
        return given
    for candidate in random.SystemRandom().sample(FREE_PORTS, 50):
        with suppress(ServiceError):
            return _try_port(host, candidate)
    return given


def _try_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(f"cannot listen on {host} port {port}: {reason}") from error
        return int(probe.getsockname()[1])


def wait_until_healthy(url: str, progress: Progress) -> None:
    """Return once ``url`` answers 200; ``progress`` is asked meanwhile.

    Raises:
        ServiceError: it did not within two minutes.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    last = "no answer"
    # trust_env=False: a proxy named in the environment must not be asked for this machine
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < deadline:
            progress("")
            try:
                response = client.get(url)
                if response.status_code == httpx.codes.OK:
                    return
                last = f"status {response.status_code}"
            except httpx.HTTPError as error:
                last = str(error)
            time.sleep(0.1)
    raise ServiceError(f"{url} did not answer within {START_TIMEOUT_S:g} s: {last}")


def stop_serve() -> None:
    """Answer requests in flight and stop Serve, which a later start in this process needs too."""
    ray_serve.shutdown()


def quietly(stop: Callable[[], None]) -> None:
    """Call ``stop``. Best effort: ignore errors while shutting down a partly started service."""
    with suppress(Exception):
        stop()


def reachable(host: str) -> str:
    """Return an address of this machine under which a listener on ``host`` answers."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url_host(host: str) -> str:
    """Return ``host`` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


@contextmanager
def start_plain(app: Any, port: int = 0) -> Iterator[str]:
    """Run an ASGI application on Ray Serve with the service's own flags, and yield its address."""
    port = reserve_port("127.0.0.1", port)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="tac-", dir="/tmp"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        started_ray = connect_ray()
        if started_ray:
            cleanup.callback(ray.shutdown)
        cleanup.callback(stop_serve)
        flags = serve_flags(folder, (reserve_port("0.0.0.0", 0), reserve_port("0.0.0.0", 0)))
        start_serve("127.0.0.1", port, flags)
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

"""Ray and Ray Serve around an application: connect, start, wait, stop."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import ray
import ray.util
from ray import serve as ray_serve
from ray.serve.schema import ApplicationStatus

from rllib_tactical.errors import ServiceError
from rllib_tactical.runtime.ray_cluster import named_cluster
from serve.deploy.watch import LEAVE_S, WATCH_S

APP_NAME: Final = "tactical"
START_TIMEOUT_S: Final = 120.0
REPLICA_CPUS: Final = 0.1
FREE_PORTS: Final = range(20_000, 30_000)
"""Where free ports are looked for. The system deals out ports from 32768 on; Ray takes dozens of
them while it starts, and one could be gone before a replica listens on it. Serve's own ports are
from 30000 on, Ray's workers below 20000."""
QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}

NOTICED_S: Final = LEAVE_S + 2 * WATCH_S
"""Within what time a replica notices that its command has ended, and has Serve end."""

METRICS_VARIABLE: Final = "PROMETHEUS_PORT"

ENDED_S: Final = 30.0
"""What Serve has for its end."""

_LOOK_S: Final = 0.1
_CONTROLLER: Final = "SERVE_CONTROLLER_ACTOR"

Progress = Callable[[str], None]
"""Called with the next step; with an empty text it only checks whether to continue."""


def no_progress(step: str) -> None:
    """Show nothing and go on."""


def metrics_port(environment: Mapping[str, str] | None = None) -> int | None:
    """Return the port that ``PROMETHEUS_PORT`` names for Ray's own metrics, None without it.

    Raises:
        ServiceError: it names no port.
    """
    found = (os.environ if environment is None else environment).get(METRICS_VARIABLE)
    if not found:
        return None
    port = int(found) if found.isascii() and found.isdecimal() else 0
    if not 0 < port < 65_536:
        raise ServiceError(f"{METRICS_VARIABLE} must be a port in 1..65535, found {found!r}")
    return port


def connect_ray(progress: Progress = no_progress, metrics: int | None = None) -> bool:
    """Connect to Ray, wait for a service on it that is ending; return whether this call connected.

    Args:
        progress: see ``Progress``; what it raises ends the wait.
        metrics: port for the metrics of a Ray instance that this call starts; None for any.

    Raises:
        ServiceError: Ray could not be started, another Serve runs on it, or the port of its metrics
            is in use.
    """
    if ray.is_initialized():
        wait_for_free_serve(progress)
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = named_cluster()
    options: dict[str, Any] = {"address": address}
    if not address:
        cpus = max(2, os.cpu_count() or 1)
        options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        if metrics is not None:
            options["_metrics_export_port"] = _try_port("0.0.0.0", metrics)
        # Ray runs its workers at niceness 15: whatever else the machine does would come first, and
        # a decision would wait for it
        options["_system_config"] = {"worker_niceness": 0}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:
        raise ServiceError(f"Ray could not be started: {error}") from error
    if address:
        try:
            wait_for_free_serve(progress)
        except BaseException:
            ray.shutdown()
            raise
    return True


class ServeUse(Enum):
    """What Ray Serve does on a cluster.

    ``OURS``: it runs a service of this kind, whose command may have ended; ``OTHER``: it runs
    something else; ``IDLE``: it runs nothing; ``ENDING``: it stops; ``GONE``: there is none.
    """

    OURS = "ours"
    OTHER = "other"
    IDLE = "idle"
    ENDING = "ending"
    GONE = "gone"


def wait_for_free_serve(
    progress: Progress,
    look: Callable[[], ServeUse] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once no other service uses Serve: its host, port and flags were fixed at its start.

    A service whose command was killed ends Serve within seconds, which a start at once still meets.

    Args:
        progress: called when there is something to wait for, and often meanwhile.
        look: returns what Serve does.
        monotonic: seconds that only grow.
        sleep: waits for seconds.

    Raises:
        ServiceError: Serve runs something else, or what it runs does not end.
    """
    look, begun, waits = look or serve_use, monotonic(), False
    while (use := look()) is not ServeUse.GONE:
        waited_s = monotonic() - begun
        if use is ServeUse.IDLE and waited_s >= NOTICED_S:
            return
        limit_s = ENDED_S if use is ServeUse.ENDING else NOTICED_S
        if use is ServeUse.OTHER or waited_s >= limit_s:
            raise ServiceError("Ray Serve already runs on this Ray instance: stop it first")
        progress("" if waits else "waiting for a service that may be ending")
        waits = True
        sleep(_LOOK_S)


def serve_use() -> ServeUse:
    """Return what Ray Serve does on the cluster that this process is connected to."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    if not any(actor["name"] == _CONTROLLER for actor in actors):
        return ServeUse.GONE
    try:
        status = ray_serve.status()
    except (ray.exceptions.RayError, ray_serve.exceptions.RayServeException):
        return ServeUse.ENDING  # the controller ends while it is asked
    if status.proxies or set(status.applications) - {APP_NAME}:
        return ServeUse.OTHER
    if not status.applications:
        return ServeUse.IDLE
    ending = status.applications[APP_NAME].status is ApplicationStatus.DELETING
    return ServeUse.ENDING if ending else ServeUse.OURS


def start_serve() -> None:
    """Start Serve's controller without a proxy: the replicas listen themselves."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray_serve.start(proxy_location="Disabled", logging_config=QUIET)


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
    import httpx  # here: the replicas, which import this module, do without it

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

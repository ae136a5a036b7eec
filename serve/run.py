"""Start and stop the service: checks, Ray, Serve, and the wait until it answers."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx
import ray
from ray import serve as ray_serve

from rllib_tactical.bundle import load_bundle
from rllib_tactical.config import TacticalConfig
from rllib_tactical.errors import ServiceError, TacticalError
from serve.app import AppSettings
from serve.deployment import decision_deployment, keeper_actor, stop_keeper
from serve.desk import model_record
from serve.keeper import KeeperSettings, open_state
from serve.security import TOKEN_VARIABLE, require_safe_binding, token_digest
from serve.telemetry import MULTIPROCESS_VARIABLE

APP_NAME: Final = "tactical"
START_TIMEOUT_S: Final = 120.0
REPLICA_CPUS: Final = 0.1
KEEPER_TIMEOUT_S: Final = 60.0
_QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}


Progress = Callable[[str], None]
"""Called with what is done next, with an empty text to ask only whether to go on."""


def no_progress(step: str) -> None:
    """Show nothing and go on."""


@dataclass(slots=True)
class Service:
    """A running service. Use it as a context manager, or call ``stop``.

    ``fast`` tells whether HAProxy stands in front; ``extra_ports`` are the ports that HAProxy opens
    beside the service's own, on every interface: its metrics and its statistics page.
    """

    url: str
    bundle_id: str
    replicas: int
    authenticated: bool
    fast: bool
    extra_ports: tuple[int, ...]
    state_folder: Path
    _tear_down: Callable[[], None] = field(repr=False)
    _stopped: bool = field(default=False, repr=False)

    def stop(self) -> None:
        """Answer what is in flight and stop; Ray too when the service started it. Idempotent."""
        if not self._stopped:
            self._stopped = True
            self._tear_down()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_service(
    bundle_path: Path,
    host: str = "127.0.0.1",
    port: int = 8001,
    replicas: int = 1,
    config: TacticalConfig | None = None,
    fast: bool = True,
    state: Path | None = None,
    progress: Progress = no_progress,
) -> Service:
    """Start the service and return once it answers.

    A Ray instance that this process is already connected to is used; otherwise the cluster that
    ``RAY_ADDRESS`` names, or a new local one. The token is read from ``TACTICAL_TOKEN``.

    Args:
        bundle_path: the bundle to decide with; it has to be there on every node with a replica.
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        replicas: number of processes that decide.
        config: latency budgets and the service's own settings are taken from it.
        fast: HAProxy and Serve's throughput mode in place of Serve's Python proxy: about 1 ms
            instead of 10 ms a request.
        state: folder of the states; this one's is in it under the instrument's symbol. Without it
            the state ends with the service.
        progress: called with what is done next, and often with nothing while waiting; what it
            raises ends the start.

    Raises:
        UnreadableError: there is no bundle.
        BundleError: the bundle is incomplete, altered or made for another version.
        ServiceError: the host needs a token, the port is in use, the state folder cannot be used,
            Serve already runs on this Ray, or the service did not come up.
    """
    config = config or TacticalConfig()
    bundle_path = Path(bundle_path).resolve()
    progress("verifying the bundle")
    bundle = load_bundle(bundle_path)
    token = os.environ.get(TOKEN_VARIABLE) or None
    require_safe_binding(host, token)
    if replicas < 1:
        raise ServiceError(f"replicas must be >= 1, found {replicas}")
    port = _reserve_port(host, port)
    folder = Path(tempfile.mkdtemp(prefix="tac-", dir="/tmp"))
    url = f"http://{_url_host(host)}:{port}"
    # what has been started so far, in the order in which it is to be stopped
    cleanup = ExitStack()
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
        keeper = KeeperSettings(
            state_folder=str(state_folder(state or folder / "state", bundle.instrument.symbol)),
            model=model_record(bundle, launch=uuid.uuid4().hex),
            service=config.service,
        )
        open_state(keeper)[0].close()
        progress("starting Ray")
        started_ray = _connect_ray()
        if started_ray:
            cleanup.callback(ray.shutdown)
        cleanup.callback(stop_keeper, keeper)
        cleanup.callback(_stop_serve, started_ray)
        extra_ports = (_reserve_port("0.0.0.0", 0), _reserve_port("0.0.0.0", 0)) if fast else ()
        progress("starting the keeper of the state")
        ray.get(keeper_actor(keeper).ready.remote(), timeout=KEEPER_TIMEOUT_S)
        progress("starting Ray Serve" + (" behind HAProxy" if fast else ""))
        settings = AppSettings(
            performance=config.performance,
            service=config.service,
            telemetry_folder=str(folder / "telemetry"),
            token_digest=None if token is None else token_digest(token),
        )
        flags = _flags(folder, extra_ports)
        _start_serve(host, port, flags)
        progress(f"starting {replicas} replica{'s' if replicas > 1 else ''}")
        _deploy(settings, keeper, replicas, flags)
        progress("waiting for the first answer")
        _wait_until_healthy(f"http://{_url_host(_reachable(host))}:{port}/health", progress)
    except BaseException as error:
        _quietly(cleanup.close)
        if isinstance(error, TacticalError) or not isinstance(error, Exception):
            raise
        reason = " ".join(str(error).strip().splitlines()[-2:])
        raise ServiceError(f"the service did not start: {reason}") from error
    return Service(
        url=url,
        bundle_id=bundle.bundle_id,
        replicas=replicas,
        authenticated=token is not None,
        fast=fast,
        extra_ports=extra_ports,
        state_folder=Path(keeper.state_folder),
        _tear_down=lambda: _quietly(cleanup.close),
    )


def state_folder(parent: Path, symbol: str) -> Path:
    """Return the folder in ``parent`` for the state of one symbol."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in symbol)
    return (parent / plain.lstrip(".")).resolve()


def serve_forever(start: Callable[[Progress], Service], say: Callable[[str], None]) -> None:
    """Start the service, say what it bound to, and stop it cleanly on SIGINT or SIGTERM.

    A signal during the start takes effect between two of its steps: Ray's native code does not
    survive to be interrupted.

    Args:
        start: returns the running service; called once with its progress.
        say: receives the lines to show.

    Raises:
        TacticalError: what ``start`` raises.
        KeyboardInterrupt: a signal came before the service ran.
    """
    asked = threading.Event()

    def ask(*_: object) -> None:
        asked.set()

    def progress(step: str = "") -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        if step:
            say(f"{step} ...")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with start(progress) as service:
            for line in describe(service):
                say(line)
            while not asked.wait(timeout=1.0):  # a wait without end would not see the signal
                pass
            say("stopping")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def describe(service: Service) -> list[str]:
    """Return what a person who started the service wants to know."""
    lines = [
        f"listening on {service.url} ({service.replicas} replica"
        f"{'s' if service.replicas > 1 else ''}, bundle {service.bundle_id[:12]})",
        "POST /decide /bars /fills /admin/model /admin/override",
        "GET  /health /metrics /model /performance",
        f"state in {service.state_folder}",
        f"token required except for /health and /metrics ({TOKEN_VARIABLE})"
        if service.authenticated
        else f"no token: set {TOKEN_VARIABLE} to require one",
    ]
    if service.extra_ports:
        ports = " and ".join(str(port) for port in service.extra_ports)
        lines.append(f"HAProxy's own metrics and statistics are on all interfaces, ports {ports}")
    return lines


def _connect_ray() -> bool:
    """Connect to Ray; return whether this call did."""
    if ray.is_initialized():
        _refuse_second_serve()
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"address": address}
    if not address:
        cpus = max(2, os.cpu_count() or 1)
        options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:
        raise ServiceError(f"Ray could not be started: {error}") from error
    if address:
        _refuse_second_serve(disconnect=True)
    return True


def _refuse_second_serve(disconnect: bool = False) -> None:
    """Refuse to share a Serve instance: its host, port and flags were fixed when it started."""
    if not ray_serve.status().proxies:
        return
    if disconnect:
        ray.shutdown()
    raise ServiceError("Ray Serve already runs on this Ray instance: stop it first")


def _start_serve(host: str, port: int, flags: dict[str, str]) -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port},
        logging_config=_QUIET,
        # Serve reads its flags where the controller and what it starts run, not in this process
        controller_options={"runtime_env": {"env_vars": flags}},
    )


def _deploy(
    settings: AppSettings, keeper: KeeperSettings, replicas: int, flags: dict[str, str]
) -> None:
    environment = {
        **flags,
        "OMP_NUM_THREADS": "1",
        MULTIPROCESS_VARIABLE: settings.telemetry_folder,
    }
    deployment = decision_deployment.options(
        num_replicas=replicas,
        logging_config=_QUIET,
        ray_actor_options={
            "num_cpus": REPLICA_CPUS,
            "runtime_env": {"env_vars": environment},
        },
    )
    ray_serve.run(deployment.bind(settings, keeper), name=APP_NAME, route_prefix="/")


def _flags(folder: Path, extra_ports: tuple[int, ...]) -> dict[str, str]:
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
        # a replica that dies with a request: another one answers it, as every request may repeat
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # how long a replica goes on answering after it has been told to stop
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


def _reserve_port(host: str, port: int) -> int:
    """Return ``port``, or a free one for 0, after trying to listen on it.

    Raises:
        ServiceError: the port is taken or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(f"cannot listen on {host} port {port}: {reason}") from error
        return int(probe.getsockname()[1])


def _wait_until_healthy(url: str, progress: Progress) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    last = "no answer"
    # trust_env=False: a proxy named in the environment must not stand before the own machine
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


def _stop_serve(with_ray: bool) -> None:
    """Answer what is in flight and stop; the rest of Serve goes with Ray where that is ours."""
    if with_ray:
        ray_serve.delete(APP_NAME)
    else:
        ray_serve.shutdown()


def _quietly(stop: Callable[[], None]) -> None:
    """Call ``stop``; what is half started may refuse to stop in order, and that is no news."""
    with suppress(Exception):
        stop()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

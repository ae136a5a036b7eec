"""Start and stop the service: checks, Ray, Serve, and the wait until it answers."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import ray
from ray import serve as ray_serve

from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import ServiceError, TacticalError
from serve.api.operations import OPERATIONS, paths_by_method
from serve.bus.status import BUS_VARIABLE, bus_settings
from serve.deploy.deployment import listening_deployment
from serve.deploy.launch import (
    experiment_record,
    launch_records,
    load_bundles,
    load_challengers,
    total_limits,
)
from serve.deploy.ray_serve import (
    APP_NAME,
    Progress,
    connect_ray,
    metrics_port,
    no_progress,
    quietly,
    reachable,
    reserve_port,
    start_serve,
    stop_serve,
    url_host,
    wait_until_healthy,
)
from serve.deploy.temporary import (
    ServiceFolder,
    claimed_port,
    port_claim,
    release_port,
    remove_abandoned,
)
from serve.deploy.watch import LEAVE_S, WATCH_S, ClusterWatch
from serve.drift.watch import DriftWatch, read_profiles
from serve.experiment.watch import ExperimentWatch
from serve.http.security import (
    ADMIN_TOKEN_VARIABLE,
    TOKEN_VARIABLE,
    admin_token_digest,
    require_safe_binding,
    token_digest,
    token_name,
    tokens_hidden,
)
from serve.http.settings import AppSettings
from serve.observability.logs import log_level
from serve.state.opening import (
    FolderLock,
    StateSettings,
    is_remote,
    open_store,
    state_of,
)
from serve.state.places import place_state
from serve.state.records import Split

if TYPE_CHECKING:
    from serve.state.ownership import StateOwner


@dataclass(slots=True)
class Service:
    """A running service. Use it as a context manager, or call ``stop``.

    ``bundles``: ids by symbol; ``left_out``: by symbol the lots of a position in the state that no
    bundle was given for; ``ray_metrics``: port that was chosen for the metrics of its Ray instance.
    """

    url: str
    bundles: dict[str, str]
    replicas: int
    authenticated: bool
    state: str
    logs: Path
    left_out: dict[str, float]
    _tear_down: Callable[[], None] = field(repr=False)
    watch: ClusterWatch = field(repr=False)
    bus: str | None = None
    ray_metrics: int | None = None
    _stopped: bool = field(default=False, repr=False)

    def stop(self) -> None:
        """Answer requests in flight and stop, with Ray if the service started it. Idempotent."""
        if not self._stopped:
            self._stopped = True
            self._tear_down()

    def abandon(self) -> None:
        """Kill what is left of the service: it may not be able to stop in order any more."""
        self._stopped = True
        self.watch.kill()

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
    bundle_path: Path | Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 8001,
    replicas: int = 1,
    config: TacticalConfig | None = None,
    state: str | Path | None = None,
    progress: Progress = no_progress,
    bus: str | None = None,
    drift: Path | None = None,
    challengers: Sequence[Path] = (),
    split: Split = "none",
) -> Service:
    """Start the service and return once it answers.

    A Ray instance that this process is already connected to is used; otherwise the cluster that
    ``RAY_ADDRESS`` names, or a new local one. The tokens are read from
    ``TACTICAL_TOKEN`` and ``TACTICAL_ADMIN_TOKEN``, their names for records from the same with
    ``_NAME`` behind.

    Args:
        bundle_path: the bundle to decide with, or several, each for a symbol of its own; they have
            to be there on every node with a replica.
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        replicas: number of processes that decide.
        config: latency budgets, limits over the sum of the accounts and the service's own settings
            are taken from it.
        state: folder of the states, see ``place_state``; or the URL of a Redis or Valkey server.
            Without it the state ends with the service.
        progress: called with what is done next, and often with nothing while waiting; what it
            raises ends the start.
        bus: URL of the Redis or Valkey server with the bus; None for events over HTTP alone.
        drift: profile of the bundle, or folder of profiles, with which what the service sees and
            does is compared; None for no monitor.
        challengers: bundles that answer in the shadow of every decision.
        split: by what challengers decide in place of the champion.

    Raises:
        UnreadableError: there is no bundle.
        BundleError: a bundle is incomplete, altered or made for another version.
        ServiceError: two bundles are for one symbol, a challenger is for another market, the host
            needs a token, the bus is no URL, a port is in use, the state folder cannot be used,
            Serve already runs on this Ray, or the service did not come up.
    """
    config = config or TacticalConfig()
    paths = [bundle_path] if isinstance(bundle_path, str | Path) else bundle_path
    progress("verifying the bundle" if len(paths) == 1 else "verifying the bundles")
    bundles = load_bundles([Path(path) for path in paths])
    rivals = load_challengers(challengers, bundles)
    experiment = experiment_record(rivals, split)
    token = os.environ.get(TOKEN_VARIABLE) or None
    require_safe_binding(host, token)
    admin = admin_token_digest(os.environ.get(ADMIN_TOKEN_VARIABLE), token)
    name, admin_name = (
        token_name(TOKEN_VARIABLE, "token"),
        token_name(ADMIN_TOKEN_VARIABLE, "admin"),
    )
    if replicas < 1:
        raise ServiceError(f"replicas must be >= 1, found {replicas}")
    level = log_level()
    streams, ray_metrics = bus_settings(bus), metrics_port()
    if drift is not None:
        read_profiles(drift)  # before anything is started
    port = reserve_port(host, port)
    remove_abandoned()
    claim = claimed_port(port)
    temporary = ServiceFolder()
    folder = temporary.path
    url = f"http://{url_host(host)}:{port}"
    # stops whatever has been started so far, last started first
    cleanup = ExitStack()
    cleanup.callback(release_port, claim)
    cleanup.callback(temporary.remove)
    try:
        symbols = [bundle.instrument.symbol for bundle in bundles]
        store = place_state(str(state or folder / "states"), symbols)
        own = folder / "local" if is_remote(store) else Path(store)
        shared = StateSettings(
            store=store,
            folder=str(own),
            models=launch_records(bundles, uuid.uuid4().hex, config),
            limits=total_limits(bundles, config),
            experiment=experiment,
        )
        progress("reading the state")
        owned = []
        if is_remote(store):
            owner = _owned(store, progress)
            cleanup.callback(owner.release)
            owned.append(owner.problem)
        lock, left_out = _claimed(shared)
        cleanup.callback(lock.release)
        progress("starting Ray")
        with tokens_hidden():  # Ray's processes keep the environment that they are started in
            started_ray = connect_ray(progress, ray_metrics)
        if started_ray:
            cleanup.callback(ray.shutdown)
        cleanup.callback(stop_serve)
        telemetry = folder / "telemetry"
        telemetry.mkdir(mode=0o700)
        progress("starting Ray Serve")
        settings = AppSettings(
            performance=config.performance,
            service=config.service,
            telemetry_folder=str(telemetry),
            log_folder=str(own / "logs"),
            log_level=level,
            token_digest=None if token is None else token_digest(token),
            admin_digest=admin,
            token_name=name,
            admin_name=admin_name,
            bus=streams,
        )
        start_serve()
        progress(f"starting {replicas} replica{'s' if replicas > 1 else ''}")
        ray_serve.run(
            listening_deployment(settings, shared, (host, port), port_claim(port), replicas),
            name=APP_NAME,
            route_prefix="/",
        )
        progress("waiting for the first answer")
        near = f"http://{url_host(reachable(host))}:{port}"
        wait_until_healthy(f"{near}/ready", progress)
        watch = ClusterWatch(f"{near}/live", others=owned)
        if drift is not None:
            monitor = DriftWatch(store, own, drift)
            cleanup.callback(monitor.stop)
            monitor.start()
        if rivals:
            shadow = ExperimentWatch(store, own, rivals)
            cleanup.callback(shadow.stop)
            shadow.start()
    except BaseException as error:
        quietly(cleanup.close)
        if isinstance(error, TacticalError) or not isinstance(error, Exception):
            raise
        reason = " ".join(str(error).strip().splitlines()[-2:])
        raise ServiceError(f"the service did not start: {reason}") from error
    return Service(
        url=url,
        bundles={bundle.instrument.symbol: bundle.bundle_id for bundle in bundles},
        replicas=replicas,
        authenticated=token is not None,
        state=store,
        logs=own / "logs",
        left_out=left_out,
        bus=None if streams is None else streams.shown,
        ray_metrics=ray_metrics if started_ray else None,
        _tear_down=lambda: quietly(cleanup.close),
        watch=watch,
    )


def _owned(store: str, progress: Progress) -> StateOwner:
    """Keep the services of others off a state on a server.

    Raises:
        ServiceError: one of them uses it, or the server cannot be reached.
    """
    open_store(store).close()  # says which extra it needs
    from serve.state.ownership import StateOwner
    from serve.state.redis_store import RedisStore

    return StateOwner(RedisStore(store), progress)


def _claimed(settings: StateSettings) -> tuple[FolderLock, dict[str, float]]:
    """Open the state once, before its replicas do.

    Returns:
        The lock that keeps others out, and by symbol the positions that are not served.

    Raises:
        ServiceError: it is in use, is damaged or belongs to another market than the bundle.
    """
    try:
        lock = FolderLock(Path(settings.folder), alone=True, wait_s=LEAVE_S + 2 * WATCH_S)
    except ServiceError as error:
        raise ServiceError(f"{error}; a service of its own needs another --state") from error
    try:
        store = open_store(settings.store)
        try:
            machine = state_of(store, settings).machine
            accounts = {symbol: machine.symbols[symbol].account for symbol in machine.left_out}
            left_out = {symbol: each.side * each.quantity for symbol, each in accounts.items()}
        finally:
            store.close()
        lock.share()
    except BaseException:
        lock.release()
        raise
    return lock, left_out


def serve_forever(
    start: Callable[[Progress], Service],
    log: Callable[[str], None],
    end: Callable[[int], None] = os._exit,
) -> None:
    """Start the service, log its address, and stop it cleanly on SIGINT or SIGTERM.

    When Ray ends, or the service does not answer any more, what is left is killed and this process
    ends with status 1, so that whoever watches it starts it again.

    A signal during the start takes effect between two steps, because Ray's native code does not
    survive an interruption.

    Args:
        start: returns the running service; called once with its progress.
        log: receives the lines to show.
        end: ends this process, without the steps of a normal end: Ray's could wait for ever.

    Raises:
        TacticalError: what ``start`` raises.
        KeyboardInterrupt: a signal came before the service ran.
    """
    asked = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in numbers}

    def listen() -> None:
        for number in numbers:
            signal.signal(number, lambda *_: asked.set())

    def progress(step: str = "") -> None:
        listen()  # again each time: Ray installs its own handlers when it starts
        if asked.is_set():
            raise KeyboardInterrupt
        if step:
            log(f"{step} ...")

    listen()
    try:
        with start(progress) as service:
            listen()
            for line in describe(service):
                log(line)
            while not asked.wait(WATCH_S):  # a wait without end would not see the signal
                if problem := service.watch.problem():
                    log(f"error: {problem}: the service ends; start it again")
                    service.abandon()
                    end(1)
                    return
            log("stopping")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def describe(service: Service) -> list[str]:
    """Return the start message: address, operations, folders, token, what is not served."""
    plural = "s" if service.replicas > 1 else ""
    chosen = [f"bundle {bundle_id[:12]}" for bundle_id in service.bundles.values()]
    if len(service.bundles) > 1:
        chosen = [f"{symbol} {bundle_id[:12]}" for symbol, bundle_id in service.bundles.items()]
    open_paths = sorted(operation.path for operation in OPERATIONS if operation.is_open)
    lines = [
        f"listening on {service.url} ({service.replicas} replica{plural}, {', '.join(chosen)})",
        *(f"{method:<4} {' '.join(paths)}" for method, paths in paths_by_method().items()),
        f"state in {service.state}, logs in {service.logs}",
        f"bus at {service.bus}" if service.bus else f"no bus: set --bus or {BUS_VARIABLE} for one",
        *([f"Ray's metrics on port {service.ray_metrics}"] if service.ray_metrics else []),
        f"token required except for {' '.join(open_paths)} ({TOKEN_VARIABLE})"
        if service.authenticated
        else f"no token: set {TOKEN_VARIABLE} to require one",
        *(
            f"the state also holds {symbol}, for which no bundle was given: its position of "
            f"{held:g} lots is kept and not traded"
            for symbol, held in service.left_out.items()
        ),
    ]
    return lines

"""What is refused before Ray starts: bindings, ports, bundles, options."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import BundleError, ServiceError, UnreadableError
from serve.api.operations import OPERATIONS
from serve.deploy import launcher as run
from serve.deploy.ray_serve import Progress
from serve.deploy.watch import ClusterWatch
from serve.http.security import ADMIN_TOKEN_VARIABLE, TOKEN_VARIABLE
from serve.state.opening import FolderLock
from serve.state.ownership import StateOwner
from serve.state.redis_store import RedisStore
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Entry
from tests.serve.state.stores import valkey_server

TOKEN = "a-token-of-sufficient-length"


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail instead of starting Ray: everything here has to be refused before."""

    def refuse(progress: Progress) -> bool:
        raise AssertionError("Ray must not be started")

    monkeypatch.setattr(run, "connect_ray", refuse)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_rays_processes_get_no_token(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (TOKEN_VARIABLE, ADMIN_TOKEN_VARIABLE)
    for name in names:
        monkeypatch.setenv(name, f"{TOKEN}-{name}")
    seen: list[str] = []

    def connect(progress: Progress, metrics: int | None) -> bool:
        seen.extend(name for name in names if name in os.environ)
        raise ServiceError("as far as here")

    monkeypatch.setattr(run, "connect_ray", connect)
    with pytest.raises(ServiceError, match="as far as here"):
        run.start_service(bundle.path, port=0)
    assert seen == []
    assert [os.environ[name] for name in names] == [f"{TOKEN}-{name}" for name in names]


def test_unsafe_binding_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ServiceError, match="can be reached from other machines"):
        run.start_service(bundle.path, host="0.0.0.0")


def test_a_port_in_use_is_refused(bundle: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"cannot listen on 127.0.0.1 port {port}: .*in use"):
            run.start_service(bundle.path, port=port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("localhost.invalid", 0)])
def test_an_impossible_address_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, host: str, port: int
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with pytest.raises(ServiceError, match="cannot listen on"):
        run.start_service(bundle.path, host=host, port=port)


@pytest.mark.parametrize("authenticated", [False, True])
def test_the_start_message_lists_every_operation(authenticated: bool) -> None:
    lines = run.describe(
        run.Service(
            url="http://127.0.0.1:8001",
            bundles={"TEST": "b" * 64},
            replicas=2,
            authenticated=authenticated,
            state="state",
            logs=Path("logs"),
            left_out={},
            _tear_down=lambda: None,
            watch=ClusterWatch("http://127.0.0.1:9"),
        )
    )
    assert lines[0] == f"listening on http://127.0.0.1:8001 (2 replicas, bundle {'b' * 12})"
    for method in ("GET", "POST"):
        listed = next(line for line in lines if line.startswith(method)).split()[1:]
        assert listed == [o.path for o in OPERATIONS if o.method == method]
    assert "WS   /ws" in lines
    open_paths = sorted(o.path for o in OPERATIONS if o.is_open)
    assert any(" ".join(open_paths) in line for line in lines) is authenticated


def test_replicas_must_be_positive(bundle: Bundle) -> None:
    with pytest.raises(ServiceError, match="replicas must be >= 1, found 0"):
        run.start_service(bundle.path, replicas=0)


def test_a_missing_or_altered_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no bundle here"):
        run.start_service(tmp_path)
    for name in os.listdir(bundle.path):
        (tmp_path / name).write_bytes((bundle.path / name).read_bytes())
    weights = tmp_path / "actors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="hash mismatch"):
        run.start_service(tmp_path)


@pytest.mark.slow
def test_a_used_or_foreign_state_folder_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "TEST", alone=False)
    with pytest.raises(ServiceError, match=r"another service is using it; .* another --state"):
        run.start_service(bundle.path, port=0, state=tmp_path)
    lock.release()
    store = SqliteStore(tmp_path / "TEST")
    store.append(0, [Entry("state", b'{"type": "diary"}')])
    store.close()
    with pytest.raises(ServiceError, match="was written by another version"):
        run.start_service(bundle.path, port=0, state=tmp_path)


@pytest.mark.slow
def test_a_state_on_a_server_is_of_one_service(bundle: Bundle, tmp_path: Path) -> None:
    with valkey_server(tmp_path) as (url, _):
        first = StateOwner(RedisStore(f"{url}#TEST"), lambda step: None)
        with pytest.raises(ServiceError, match=r"another service uses this state .*--state redis"):
            run.start_service(bundle.path, port=0, state=url)
        first.release()


def running(folder: Path, stopped: list[str]) -> run.Service:
    return run.Service(
        url="http://127.0.0.1:8001",
        bundles={"TEST": "ab" * 32},
        replicas=2,
        authenticated=False,
        state=str(folder),
        logs=folder / "logs",
        left_out={},
        _tear_down=lambda: stopped.append("stopped"),
        watch=ClusterWatch("http://127.0.0.1:9"),
    )


def test_serve_forever_says_what_it_bound_to_and_stops_on_a_signal(tmp_path: Path) -> None:
    stopped: list[str] = []
    said: list[str] = []

    def start(progress: Progress) -> run.Service:
        progress("starting Ray")
        progress("")
        return running(tmp_path, stopped)

    def log(line: str) -> None:
        said.append(line)
        if line.startswith("no token"):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    run.serve_forever(start, log)
    assert said[0] == "starting Ray ..."
    assert said[1] == "listening on http://127.0.0.1:8001 (2 replicas, bundle abababababab)"
    assert f"state in {tmp_path}, logs in {tmp_path / 'logs'}" in said
    assert said[-1] == "stopping"
    assert stopped == ["stopped"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_the_start_ends_it_at_the_next_step(tmp_path: Path) -> None:
    steps: list[str] = []

    def start(progress: Progress) -> run.Service:
        progress("starting Ray")
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("Ray has started")  # the signal did not cut into this
        progress("starting Ray Serve")
        raise AssertionError("the start has to end")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.serve_forever(start, steps.append)
    assert steps == ["starting Ray ...", "Ray has started"]
    assert signal.getsignal(signal.SIGINT) is before


def test_handlers_that_ray_puts_in_place_are_replaced(tmp_path: Path) -> None:
    stopped: list[str] = []

    def start(progress: Progress) -> run.Service:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as ray.init does
        progress("")
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return running(tmp_path, stopped)

    def log(line: str) -> None:
        if line.startswith("no token"):
            os.kill(os.getpid(), signal.SIGTERM)

    run.serve_forever(start, log)
    assert stopped == ["stopped"]


@pytest.mark.slow
def test_a_service_without_ray_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    said: list[str] = []
    codes: list[int] = []
    service = running(tmp_path, stopped)
    monkeypatch.setattr(service.watch, "problem", lambda: "Ray's raylet has ended")
    monkeypatch.setattr(service.watch, "kill", lambda: stopped.append("killed"))
    run.serve_forever(lambda progress: service, said.append, codes.append)
    assert said[-1] == "error: Ray's raylet has ended: the service ends; start it again"
    assert stopped == ["killed"]  # Ray's own way of stopping could wait for ever
    assert codes == [1]


def test_a_service_is_stopped_once(tmp_path: Path) -> None:
    stopped: list[str] = []
    with running(tmp_path, stopped) as service:
        pass
    service.stop()
    assert stopped == ["stopped"]

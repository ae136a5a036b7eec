"""What ends with a service: by locks and processes of the tests' own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rllib_tactical.errors import ServiceError
from serve.deploy import watch
from serve.deploy.watch import ClusterWatch, OwnerWatch
from tests.bench.test_load import OK, server

pytestmark = pytest.mark.slow

NOWHERE = "http://127.0.0.1:9"


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def test_a_replica_ends_when_nobody_holds_the_claim(tmp_path: Path) -> None:
    claim, ended, left = tmp_path / "claim", threading.Event(), threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with claimed(claim):
        owner = OwnerWatch(claim)
        assert owner.problem() is None
        owner.start(left.set, end)
        claim.unlink()  # as a cleaner of old files does; the lock stays
        assert not ended.wait(3 * watch.WATCH_S)
        assert owner.problem() is None
    assert ended.wait(10.0)
    assert left.is_set()
    assert codes == [1]
    assert owner.problem() == "the command that started the service has ended"


def test_a_replica_ends_although_it_cannot_leave_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LEAVE_S", 0.1)
    hanging, ended = threading.Event(), threading.Event()

    def wait() -> None:
        hanging.wait()

    with claimed(tmp_path / "claim"):
        owner = OwnerWatch(tmp_path / "claim")
        owner.start(wait, lambda code: ended.set())
    assert ended.wait(10.0)
    hanging.set()


def test_a_replica_without_an_owner_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="No such file"):
        OwnerWatch(tmp_path / "claim")
    (tmp_path / "claim").touch()
    with pytest.raises(ServiceError, match="the command that started the service has ended"):
        OwnerWatch(tmp_path / "claim")


def test_a_replica_whose_parent_is_another_than_at_its_start_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed(tmp_path / "claim"):
        owner = OwnerWatch(tmp_path / "claim")
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert owner.problem() == "the Ray node of this replica has ended"


def test_the_command_notices_what_others_tell() -> None:
    told: list[str] = []
    cluster = ClusterWatch(NOWHERE, others=[lambda: told[-1] if told else None])
    assert cluster.problem() is None
    told.append("another service has taken the state")
    assert cluster.problem() == told[0]


@contextmanager
def process_named(name: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that sleeps under a name of Ray's."""
    program = folder / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    process = subprocess.Popen([program, "60"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_command_notices_that_a_process_of_ray_has_ended(name: str, tmp_path: Path) -> None:
    with process_named(name, tmp_path) as core:
        cluster = ClusterWatch(NOWHERE)
        assert cluster.problem() is None
        core.kill()
        core.wait()
        assert cluster.problem() == f"Ray's {name} has ended"


def test_a_process_that_nobody_has_waited_for_has_ended_too(tmp_path: Path) -> None:
    with process_named("raylet", tmp_path) as core:
        cluster = ClusterWatch(NOWHERE)
        core.kill()
        while cluster._core["raylet"].status() != "zombie":
            pass
        assert cluster.problem() == "Ray's raylet has ended"


def test_what_ray_has_started_is_killed_with_it(tmp_path: Path) -> None:
    with (
        process_named("raylet", tmp_path) as raylet,
        process_named("worker", tmp_path, RAY_RAYLET_PID=str(raylet.pid)) as worker,
    ):
        cluster = ClusterWatch(NOWHERE)
        # not a child of this process: of one that is gone
        orphan = subprocess.run(
            ["sh", "-c", f"{tmp_path / 'worker'} 60 >&- 2>&- & echo $!"],
            env={"RAY_RAYLET_PID": str(raylet.pid), "PATH": "/bin:/usr/bin"},
            capture_output=True,
            check=True,
        )
        cluster.kill()
        assert raylet.wait(10.0) == worker.wait(10.0) == -9
        deadline = time.monotonic() + 10.0
        while psutil.pid_exists(int(orphan.stdout)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_on_a_cluster_of_somebody_else_nothing_is_killed(tmp_path: Path) -> None:
    with process_named("other", tmp_path) as other:
        cluster = ClusterWatch(NOWHERE)
        cluster.kill()
        assert other.poll() is None


def test_a_service_that_does_not_answer_is_given_up_after_a_minute() -> None:
    now = [0.0]
    refused = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with server([OK, refused], body=0) as url:
        cluster = ClusterWatch(f"{url}/live", lambda: now[0])
        now[0] = watch.ASK_S
        assert cluster.problem() is None  # OK
        now[0] += watch.UNANSWERED_S
        assert cluster.problem() == "the service has not answered for 60 s"
        assert cluster.problem() is None  # it is not asked at each look
        now[0] += watch.ASK_S
        assert cluster.problem() is None  # it answers again

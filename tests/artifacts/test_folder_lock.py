"""One writer in a folder: refused while it lives, let go however it ends, at a URI too."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rllib_tactical.artifacts import folder_lock
from rllib_tactical.artifacts.folder_lock import LOCK, RENEWED_EVERY_S, STALE_AFTER_S, locked_folder
from rllib_tactical.artifacts.run_folder import RUN_OUTPUT
from rllib_tactical.artifacts.storage import Place, place_of, working_folder
from rllib_tactical.cli.main import main
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.synthetic import make_market
from tests.s3_server import s3_server, uri

HOLD = """
import sys
from pathlib import Path
from rllib_tactical.artifacts.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that holds the folder."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_folder_that_another_process_holds_is_refused_until_it_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        words = f"{tmp_path} is in use by process {process.pid} on {socket.gethostname()} since "
        with pytest.raises(TrainingError, match=words), locked_folder(tmp_path):
            pytest.fail("held twice")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (tmp_path / LOCK).exists()  # nobody was left to remove it
    RUN_OUTPUT.require(tmp_path)  # and it is nobody's output
    with locked_folder(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_what_is_made_for_the_lock_goes_with_it_unless_something_was_written(
    tmp_path: Path,
) -> None:
    out = tmp_path / "deep" / "run"
    with locked_folder(out), pytest.raises(TrainingError), locked_folder(out):
        pytest.fail("held twice")
    assert not out.exists()
    with locked_folder(place_of(out)):
        (out / "run.json").touch()
    assert [path.name for path in out.iterdir()] == ["run.json"]


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = fcntl.flock, iter(range(9))

    def flock(handle: int, how: int) -> None:
        if next(calls) == 0:
            (tmp_path / LOCK).unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert next(calls) == 2


def test_a_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_folder(tmp_path), locked_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="--out must be a folder that can be written to"),
        locked_folder(tmp_path / "file" / "run"),
    ):
        pytest.fail("there is no folder")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as (found, _):
        yield found


@pytest.fixture
def remote(endpoint: str) -> str:
    return uri(endpoint, uuid.uuid4().hex)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    asked: list[float] = []
    monkeypatch.setattr(folder_lock, "sleep", asked.append)
    return asked


def put(place: Place, **holder: Any) -> None:
    with place.files.open_output_stream(f"{place.path}/{LOCK}") as stream:
        stream.write(json.dumps(holder).encode())


@pytest.mark.slow
def test_a_place_is_held_while_a_run_works_there(remote: str, waits: list[float]) -> None:
    place = place_of(remote)
    with working_folder(remote, resume=False) as local:
        (local / "run.json").write_text("{}")
        assert place.has(LOCK)
        with pytest.raises(TrainingError, match=r"in use by process .* that was killed"):
            working_folder(remote, resume=True).__enter__()
    assert waits == [folder_lock.SETTLES_IN_S]
    assert list(place.files_below()) == ["run.json"]
    with working_folder(remote, resume=True) as local:
        assert [path.name for path in local.iterdir()] == ["run.json"]
    assert list(place.files_below()) == ["run.json"]


@pytest.mark.parametrize(
    ("holder", "held"),
    [
        ({"host": "other", "process": 7, "since": "x", "renewed": -STALE_AFTER_S / 2}, True),
        ({"host": "other", "process": 7, "since": "x", "renewed": -STALE_AFTER_S - 1}, False),
        ({"host": socket.gethostname(), "process": 2**22 + 1, "since": "x", "renewed": 0}, False),
        ({"host": "other"}, False),
    ],
    ids=["renewed lately", "not renewed", "its process is gone", "damaged"],
)
def test_a_lease_means_nothing_once_its_holder_is_gone(
    remote: str, waits: list[float], holder: dict[str, Any], held: bool
) -> None:
    place = place_of(remote)
    if "renewed" in holder:
        holder = holder | {"renewed": time.time() + holder["renewed"]}
    put(place, **holder)
    if held:
        with pytest.raises(TrainingError, match="by process 7 on other"), locked_folder(place):
            pytest.fail("held twice")
    else:
        with locked_folder(place):
            pass


def test_of_two_that_come_at_the_same_time_one_gives_way(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(remote)

    def other_comes(seconds: float) -> None:
        put(place, id="other", host="b", process=8, since="x", renewed=time.time())

    monkeypatch.setattr(folder_lock, "sleep", other_comes)
    with pytest.raises(TrainingError, match="by process 8 on b"), locked_folder(place):
        pytest.fail("held twice")


def test_a_lease_is_renewed(
    remote: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 3 * RENEWED_EVERY_S < STALE_AFTER_S
    monkeypatch.setattr(folder_lock, "RENEWED_EVERY_S", 0.01)
    place = place_of(remote)
    with locked_folder(place):
        first = place.read_json(LOCK)["renewed"]
        deadline = time.monotonic() + 10
        while place.read_json(LOCK)["renewed"] == first:
            assert time.monotonic() < deadline


def train(folder: Path) -> list[str]:
    return ["train", "--data", str(folder / "bars.parquet"), "--out", str(folder / "out")]


def tune(folder: Path) -> list[str]:
    return ["tune", *train(folder)[1:], "--sweep", "tune_configs/smoke.yaml"]


def evaluate(folder: Path) -> list[str]:
    return ["evaluate", *train(folder)[1:], "--folds", "2"]


@pytest.mark.parametrize("command", [train, tune, evaluate])
def test_every_command_that_trains_refuses_a_folder_in_use(
    command: Callable[[Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_ray(*arguments: Any) -> None:
        pytest.fail("Ray was started")

    for module in ("rl.api", "sweep.runner", "walkforward.jobs"):
        monkeypatch.setattr(f"rllib_tactical.{module}.start_ray", start_ray)
    write_bars(make_market("momentum", 1, 8_000, 0.0).bars, tmp_path / "bars.parquet")
    with holder(tmp_path / "out") as process:
        result = CliRunner().invoke(main, [*command(tmp_path), "--instrument", "SYNTH"])
    assert isinstance(result.exception, TrainingError)
    assert f"is in use by process {process.pid}" in str(result.exception)


@pytest.mark.parametrize("command", [train, tune, evaluate])
def test_every_command_that_trains_looks_at_its_folder_first(
    command: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    write_bars(make_market("momentum", 1, 8_000, 0.0).bars, tmp_path / "bars.parquet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    result = CliRunner().invoke(main, [*command(tmp_path), "--instrument", "SYNTH"])
    assert isinstance(result.exception, UsageError)
    assert "found thesis.tex" in str(result.exception)

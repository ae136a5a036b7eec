"""A service in a process of its own; what it does when killed is in the tests of the service."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from rllib_tactical.bench.service_process import (
    COMMAND,
    ServiceProcess,
    is_free,
    lives,
    start_served,
)
from rllib_tactical.errors import ServiceError


@pytest.mark.slow
def test_a_start_that_is_refused_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=f"did not start: error: .*{tmp_path.name}"):
        start_served(("--bundle", tmp_path, "--port", "0"))


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.slow
def test_processes_are_found_by_what_they_are_and_end(tmp_path: Path) -> None:
    replica = tmp_path / "ray::ServeReplica.py"
    replica.write_text("import time\ntime.sleep(60)\n")
    command = tmp_path / "command.py"
    command.write_text(
        "import pathlib, subprocess, sys\n"
        "(path,) = pathlib.Path(sys.argv[0]).parent.glob('ray*')\n"
        "subprocess.run([sys.executable, path])\n"
    )
    process = subprocess.Popen([sys.executable, command], stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=process.communicate)
    reader.start()
    service = ServiceProcess(process, "http://127.0.0.1:9", 0.0, reader)
    while not (replicas := service.processes("replica")):
        pass
    assert [found.pid for found in service.processes(COMMAND)] == [process.pid]
    assert service.memory_mb() > 0
    assert not service.ended()
    process.kill()
    process.wait()
    # still known when its parent is gone
    assert service.processes("replica") == replicas
    assert not service.ended()
    service.stop()
    psutil.wait_procs(replicas, timeout=10.0)
    assert not lives(replicas[0])
    assert service.ended()

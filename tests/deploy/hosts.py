"""Machines made of namespaces: a desk to work at and hosts reached by SSH (``lan.sh``)."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SCRIPT = Path(__file__).with_name("lan.sh")
NAMESPACES = (
    "--net",
    "--uts",
    "--ipc",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
PROGRAMS = {"sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "ip": "iproute2"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_TIMEOUT_S = 30.0


def why_not() -> str | None:
    """Return why hosts cannot be made on this machine; None when they can."""
    for program in ("unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"hosts of namespaces need {program} (util-linux)"
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=SYSTEM_PATH) is None:
            return f"hosts of namespaces need {program} (package {package})"
    if os.geteuid() != 0:
        return "hosts of namespaces need root"
    tried = subprocess.run(
        [
            "unshare",
            *NAMESPACES,
            "bash",
            "-c",
            "mount --make-rprivate / && ip link add x type bridge",
        ],
        capture_output=True,
        text=True,
    )
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


class Lan:
    """A desk and hosts that it reaches by SSH with the key ``key``. Use it as a context manager.

    Addresses are 10.77.0.1 for the desk and then one more for each host. Every machine sees the
    files of this one, but its home, /tmp and Python environment are copies that end with it.

    Args:
        folder: an empty folder, for keys and what the machines write.
        hosts: their names.
    """

    def __init__(self, folder: Path, *hosts: str) -> None:
        self.folder, self.hosts = folder, hosts
        self.home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
        self.environment = Path(sys.prefix)
        self.key = folder / "user_key"

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return f"10.77.0.{self.hosts.index(host) + 2}"

    def __enter__(self) -> Lan:
        for name in ("user_key", "host_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)],
                check=True,
            )
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        private = _outermost([self.home, Path("/tmp"), self.environment])
        (self.folder / "private").write_text("".join(f"{path}\n" for path in private))
        self._log = (self.folder / "desk.log").open("w")
        self._desk = subprocess.Popen(
            ["unshare", *NAMESPACES, "bash", str(SCRIPT), "desk", str(self.folder), *self.hosts],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self.folder / "ready").exists():
            if self._desk.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError((self.folder / "desk.log").read_text())
            time.sleep(0.02)
        (self._init,) = _children(self._desk.pid)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._desk.pid, signal.SIGKILL)
        self._desk.wait()
        self._log.close()

    def start(self, command: str, folder: Path, **options: object) -> subprocess.Popen[str]:
        """Start a shell command at the desk, in ``folder``."""
        inside = ["nsenter", "--target", str(self._init)]
        inside += ["--mount", "--uts", "--ipc", "--net", "--pid", "--wd=" + str(folder)]
        path = f"{self.environment / 'bin'}:{SYSTEM_PATH}"
        kept = {"HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb"}
        started: subprocess.Popen[str] = subprocess.Popen(
            [*inside, "bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**kept, "RAY_USAGE_STATS_ENABLED": "0"},
            **options,  # type: ignore[call-overload]
        )
        return started


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _outermost(paths: list[Path]) -> list[Path]:
    """Return the paths that are in none of the others, each once."""
    unique = list(dict.fromkeys(path.resolve() for path in paths))
    return [path for path in unique if not any(path.is_relative_to(o) for o in unique if o != path)]

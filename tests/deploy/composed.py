"""The processes of compose.yaml without its engine: same commands, environment, files and names.

They run in a network of their own, in which the names of the services are this machine. Folders
that compose mounts are the checkout's; a volume is a folder of the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

FILE = "deploy/compose/compose.yaml"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Of images whose command is options alone: the program that they start."""

INIT = """
mount --make-rprivate /
ip link set lo up
mount --bind {hosts} /etc/hosts
touch {ready}
exec sleep infinity
"""


def compose(root: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its variables filled in; ``:?`` and ``:-`` as compose has them.

    Raises:
        KeyError: a variable that has to be set is not.
    """
    text = (root / FILE).read_text(encoding="utf-8")
    made, rest = "", text
    while "${" in rest:
        before, _, rest = rest.partition("${")
        inside, _, rest = rest.partition("}")
        name, mark, default = inside.partition(":")
        if name in settings:
            value = settings[name]
        elif mark and default.startswith("-"):
            value = default[1:]
        else:
            raise KeyError(name)
        made += before + value
    loaded: dict[str, Any] = yaml.safe_load(made + rest)
    return loaded


def why_not() -> str | None:
    """Return why the processes cannot be run on this machine; None when they can."""
    needed = ["unshare", "nsenter", "ip", "wget", "redis-server", "redis-cli", *PROGRAMS.values()]
    for program in needed:
        if shutil.which(program, path=SYSTEM_PATH) is None:
            return f"the processes of compose need {program}"
    if os.geteuid() != 0:
        return "a network of their own needs root"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


class Composed:
    """The network and what runs in it, as a context manager.

    Args:
        root: of the checkout.
        folder: an empty folder.
        settings: what ``.env`` has.
    """

    def __init__(self, root: Path, folder: Path, settings: Mapping[str, str]) -> None:
        self.root, self.folder = root, folder
        self.services: dict[str, Any] = compose(root, settings)["services"]
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Composed:
        hosts, ready = self.folder / "hosts", self.folder / "ready"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(self.services)}\n")
        script = INIT.format(hosts=hosts, ready=ready)
        self._init = subprocess.Popen(
            ["unshare", "--net", "--mount", "bash", "-euc", script], start_new_session=True
        )
        deadline = time.monotonic() + 10.0
        while not ready.exists():
            assert self._init.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        started = [psutil.Process(each.pid) for each in self._running if each.poll() is None]
        inner = [child for each in started for child in each.children(recursive=True)]
        for each in self._running:
            each.terminate()
        for each in self._running:
            with suppress(subprocess.TimeoutExpired):
                each.wait(30.0)
        for left in [*started, *inner]:
            with suppress(psutil.Error):
                left.kill()
        for each in self._running:
            each.wait()
        os.killpg(self._init.pid, signal.SIGKILL)
        self._init.wait()

    def start(self, name: str) -> None:
        """Start a service's process: its command, environment and mounted files."""
        service = self.services[name]
        words = [self._local(service, word) for word in service["command"]]
        if name in PROGRAMS:
            words.insert(0, PROGRAMS[name])
        if words[0] == "tactical":
            words[:1] = [sys.executable, "-m", "rllib_tactical"]
        place = self.folder / name
        place.mkdir(exist_ok=True)
        log = (place / "log").open("w")
        process = subprocess.Popen(
            self._inside(words),
            env=self._environment(service.get("environment", {})),
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self._running.append(process)

    def is_healthy(self, name: str) -> bool:
        """Run a service's health check once."""
        (kind, *words) = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(words).returncode == 0

    def wait_until_healthy(self, name: str, timeout_s: float) -> float:
        """Return after how many seconds a service's health check was passed."""
        begun = time.monotonic()
        while not self.is_healthy(name):
            said = (self.folder / name / "log").read_text()[-3_000:]
            assert time.monotonic() - begun < timeout_s, f"{name} is not healthy:\n{said}"
            time.sleep(0.2)
        return time.monotonic() - begun

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the network."""
        return subprocess.run(
            self._inside(words),
            env=self._environment({}),
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )

    def _inside(self, words: Sequence[str]) -> list[str]:
        return ["nsenter", "--target", str(self._init.pid), "--mount", "--net", *words]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {"PATH": SYSTEM_PATH, "HOME": str(self.folder), "LANG": "C.UTF-8"}
        kept |= {"PYTHONPATH": os.environ.get("PYTHONPATH", str(self.root))}
        return {**kept, **{key: str(value) for key, value in more.items()}}

    def _local(self, service: Mapping[str, Any], word: str) -> str:
        """Return a word of a command with this machine's paths for those that are mounted."""
        for mount in service.get("volumes", []):
            source, inside = mount.split(":")[:2]
            if source.startswith((".", "/")):
                path = (self.root / source).resolve()
            else:
                path = self.folder / "volumes" / source
                path.mkdir(parents=True, exist_ok=True)
            if f"={inside}" in word:
                return word.replace(f"={inside}", f"={path}")
        return word

"""A real Alertmanager with the shipped configuration, whose messages a test collects."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from serve.notify.message import Message
from serve.notify.receiver import ALERTS_PATH, Receiver
from tests.deploy.head import free_ports
from tests.serve.observability.prometheus import program, shipped, wait_for

CONFIGURATION = "deploy/alertmanager/alertmanager.yaml"
SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Alertmanager:
    """The program and the receiver of its webhook, as a context manager.

    Args:
        root: of the checkout.
        folder: an empty folder.
        speed: how much faster than shipped it groups and repeats.
    """

    root: Path
    folder: Path
    speed: float = 1.0
    messages: list[Message] = field(default_factory=list)
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def __enter__(self) -> Alertmanager:
        command = program("prometheus-alertmanager", "prometheus-alertmanager")
        self.folder.mkdir(exist_ok=True)
        self._receiver = Receiver("127.0.0.1", 0, self._collect)
        self._thread = threading.Thread(target=self._receiver.serve_forever, daemon=True)
        self._thread.start()
        config = shipped(self.root, CONFIGURATION)
        self._hurry(config["route"])
        for receiver in config["receivers"]:
            for webhook in receiver["webhook_configs"]:
                webhook["url"] = f"http://127.0.0.1:{self._receiver.server_port}{ALERTS_PATH}"
        file = self.folder / "alertmanager.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._log = (self.folder / "log").open("w+")
        self._process = subprocess.Popen(
            [
                command,
                f"--config.file={file}",
                f"--storage.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(self._ready, 60.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._receiver.shutdown()
        self._receiver.server_close()
        self._thread.join()
        self._log.close()

    def _collect(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    def _hurry(self, route: dict[str, Any]) -> None:
        for name in ("group_wait", "group_interval", "repeat_interval"):
            if name in route:
                found_s = int(route[name][:-1]) * SECONDS[route[name][-1]]
                least_s = 0 if name == "group_wait" else 1
                route[name] = f"{max(least_s, round(found_s / self.speed))}s"
        for inner in route.get("routes", []):
            self._hurry(inner)

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            self._log.seek(0)
            raise RuntimeError(f"Alertmanager did not start:\n{self._log.read()}")
        with suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{self.port}/-/ready"
            return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
        return False

    def told(self, name: str, tone: str) -> bool:
        """Return whether there was a message of an alert with a tone."""
        return any(name in message.title and message.tone == tone for message in self.messages)

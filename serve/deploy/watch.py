"""Notice that what keeps a service whole has ended, and end the rest of it.

Ray Serve replaces a replica that has died. Nothing replaces Ray's own processes, or the command
that started the service: replicas would go on answering unseen, on a port that nobody owns, and
nothing would replace them. So everything ends then, and whoever watches the command starts it
again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from rllib_tactical.errors import ServiceError

_LOG = logging.getLogger(__name__)
WATCH_S: Final = 0.5
"""How often the watches look."""

LEAVE_S: Final = 4.0
"""What a replica whose service has ended has for answering what it has begun."""

ASK_S: Final = 5.0
"""How often the command asks its service whether it answers."""

UNANSWERED_S: Final = 60.0
"""After how long without an answer the command gives up: a dead replica is back long before."""

_CORE: Final = ("raylet", "gcs_server")
_PARENT_VARIABLE: Final = "RAY_RAYLET_PID"


class OwnerWatch:
    """A replica's watch over the command that started its service, and over Ray.

    Args:
        claim: file on which the command holds an exclusive lock as long as it lives.

    Raises:
        ServiceError: the command has ended, or it never was on this machine.
    """

    def __init__(self, claim: Path) -> None:
        self._parent = os.getppid()
        try:
            # kept open: the file may be removed, the lock stays
            self._claim = os.open(claim, os.O_RDONLY)
        except OSError as error:
            raise ServiceError(f"{claim}: {error.strerror}") from error
        if problem := self.problem():
            os.close(self._claim)
            raise ServiceError(problem)

    def problem(self) -> str | None:
        """Return what has ended, None as long as nothing has."""
        if os.getppid() != self._parent:
            return "the Ray node of this replica has ended"
        try:
            fcntl.flock(self._claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return None
        fcntl.flock(self._claim, fcntl.LOCK_UN)
        return "the command that started the service has ended"

    def start(self, leave: Callable[[], None], end: Callable[[int], None] = os._exit) -> None:
        """Watch in the background; call ``leave`` on a problem, then ``end`` the process."""

        def run() -> None:
            while (problem := self.problem()) is None:
                time.sleep(WATCH_S)
            _LOG.error("this replica ends: %s", problem)
            limit = threading.Timer(LEAVE_S, lambda: end(1))
            limit.daemon = True
            limit.start()
            try:
                leave()
            except Exception:
                # it ends all the same, by the next line
                _LOG.exception("the replica did not end in order")
            end(1)

        threading.Thread(target=run, name="owner-watch", daemon=True).start()


class ClusterWatch:
    """The command's watch over the Ray processes that it has started, and over its service.

    Args:
        url: an address of the service that answers 200 as long as a replica lives.
        monotonic: seconds that only grow.
        others: return what else is wrong, None as long as nothing is.
    """

    def __init__(
        self,
        url: str,
        monotonic: Callable[[], float] = time.monotonic,
        others: Sequence[Callable[[], str | None]] = (),
    ) -> None:
        self._url, self._monotonic, self._others = url, monotonic, others
        self._core = _core_processes()
        self._asked_at = self._answered_at = monotonic()

    def problem(self) -> str | None:
        """Return what is wrong, None as long as nothing is. Call it often."""
        for name, process in self._core.items():
            if not _lives(process):
                return f"Ray's {name} has ended"
        for other in self._others:
            if problem := other():
                return problem
        now = self._monotonic()
        if now - self._asked_at >= ASK_S:
            if self._answers():
                self._answered_at = self._monotonic()
            self._asked_at = self._monotonic()
            if self._asked_at - self._answered_at >= UNANSWERED_S:
                return f"the service has not answered for {UNANSWERED_S:g} s"
        return None

    def kill(self) -> None:
        """End what is left of Ray on this machine, without asking it: it may no longer answer."""
        raylet = self._core.get("raylet")
        left = list(self._core.values())
        for process in psutil.Process().children(recursive=True):
            left += [process] if self._core else []
        # what the raylet has started lost its parent with it
        parent = None if raylet is None else str(raylet.pid)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if parent is not None and process.environ().get(_PARENT_VARIABLE) == parent:
                    left.append(process)
        for process in left:
            with suppress(psutil.Error):
                process.kill()

    def _answers(self) -> bool:
        import httpx  # here: the replicas, which import this module, do without it

        try:
            # trust_env=False: a proxy named in the environment must not be asked for this machine
            with httpx.Client(trust_env=False, timeout=ASK_S) as client:
                return client.get(self._url).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def _core_processes() -> dict[str, psutil.Process]:
    """Return the processes of Ray's core that this process has started, by name."""
    found = {}
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if process.name() in _CORE:
                found[process.name()] = process
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""What a running service keeps in the folder for temporary files, and what killed ones left there.

A lock that its process holds tells whether something is still in use: the system frees it however
the process ends. So the next start removes what nobody has any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from rllib_tactical.errors import ServiceError

ROOT: Final = Path("/tmp")
"""Where folders are made: paths of sockets must be short."""

_PREFIX: Final = "tac-"
_OWNER: Final = "owner"
_TRIES: Final = 10
_PAUSE_S: Final = 0.05


class ServiceFolder:
    """A folder of a running service, removed by ``remove``, or by the next start if it was killed.

    Args:
        root: where it is made.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = self.path / f"{_OWNER}.new"
        self._lock = lock.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        lock.rename(self.path / _OWNER)  # locked from the moment at which it is there

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def claimed_port(port: int) -> IO[str]:
    """Return an open file that keeps this user's other services off a port; see ``release_port``.

    The replicas of one service share their port, so the system would let another service of the
    same user share it too, and each would answer requests to the other.

    Raises:
        ServiceError: another service has it.
    """
    path = port_claim(port)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)  # another start may look whether somebody has it
        claim = path.open("w")
        if _locked(claim) and _is_file(claim, path):
            return claim
        claim.close()
    raise ServiceError(f"port {port} is in use by another service of this user")


def release_port(claim: IO[str]) -> None:
    """Give a port back."""
    Path(claim.name).unlink(missing_ok=True)
    claim.close()


def port_claim(port: int) -> Path:
    """Return the file that ``claimed_port`` locks."""
    return Path(tempfile.gettempdir()) / f"tactical-port-{os.getuid()}-{port}.lock"


def remove_abandoned(root: Path = ROOT) -> int:
    """Remove folders and claims of this user's services that were killed; return how many."""
    removed = 0
    for folder in root.glob(f"{_PREFIX}*"):
        removed += _removed(folder / _OWNER, folder)
    own = f"tactical-port-{os.getuid()}-*.lock"
    for claim in Path(tempfile.gettempdir()).glob(own):
        removed += _removed(claim, claim)
    return removed


def _removed(lock: Path, target: Path) -> bool:
    """Remove ``target`` if nobody holds ``lock``; return whether that was so."""
    with suppress(OSError):  # somebody else's, or just gone
        if lock.stat().st_uid != os.getuid():
            return False
        with lock.open("r+") as file:
            if not _locked(file) or not _is_file(file, lock):
                return False
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink()
            return True
    return False


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_file(file: IO[str], path: Path) -> bool:
    """Return whether an open file is still the one at ``path``: it may have been removed."""
    try:
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False

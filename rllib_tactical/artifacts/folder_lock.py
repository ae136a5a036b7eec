"""One writer at a time in an output folder, on this machine, over a shared file system or at a URI.

On a file system the kernel holds the lock and lets it go when its process ends, however it ends. At
a URI there is no such thing: the holder renews a file there, which means nothing once it is old.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from rllib_tactical.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from rllib_tactical.artifacts.storage import Place

LOCK: Final = ".lock"
"""Name of the file that says who holds a folder."""

RENEWED_EVERY_S: Final = 10.0
STALE_AFTER_S: Final = 60.0
SETTLES_IN_S: Final = 1.0
"""After so long the later of two that came at the same time has overwritten the other."""

_WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def locked_folder(out: Path | Place) -> Iterator[None]:
    """Hold a folder for the block; it is made when missing, and removed again if it stays empty.

    Args:
        out: the folder; where its file system knows no locks, the block runs without one.

    Raises:
        TrainingError: another process holds it; the message says which.
        UsageError: it cannot be made or written to.
    """
    if not isinstance(out, Path):
        if not out.is_local:
            with _lease(out):
                yield
            return
        out = out.local
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = _claim(out / LOCK)
    except OSError as error:
        raise UsageError(f"--out must be a folder that can be written to: {error}") from error
    try:
        yield
    finally:
        if handle is not None:
            with suppress(OSError):
                (out / LOCK).unlink()
            os.close(handle)
        if made:
            with suppress(OSError):  # it is not empty
                out.rmdir()


def _claim(path: Path) -> int | None:
    """Return the open file that is locked; None where there are no locks."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):  # whoever held it may have removed it meanwhile
                if os.path.samestat(os.fstat(handle), path.stat()):
                    os.ftruncate(handle, 0)
                    os.write(handle, json.dumps(_holder()).encode())
                    return handle
        except BlockingIOError as error:
            holder = _parsed(os.pread(handle, 4_096, 0))
            os.close(handle)
            raise _in_use(path.parent, holder) from error
        except OSError as error:
            os.close(handle)
            if error.errno in _WITHOUT_LOCKS:
                return None
            raise
        os.close(handle)


@contextmanager
def _lease(place: Place) -> Iterator[None]:
    mine = _holder() | {"id": secrets.token_hex(8)}
    found = _read(place)
    if found and not _is_over(found):
        raise _in_use(place, found, f"; one that was killed holds it {STALE_AFTER_S:.0f} s longer")
    _write(place, mine)
    sleep(SETTLES_IN_S)
    found = _read(place)
    if found.get("id") != mine["id"]:
        raise _in_use(place, found)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED_EVERY_S):
            with suppress(OSError):  # tried again before it is old
                _write(place, mine)

    renewer = threading.Thread(target=renew, daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        with suppress(OSError):
            place.files.delete_file(f"{place.path}/{LOCK}")


def _is_over(found: dict[str, Any]) -> bool:
    """Whether the holder of a lease has ended, or has not renewed it for long."""
    try:
        if found["host"] == socket.gethostname() and not Path(f"/proc/{found['process']}").exists():
            return True
        return bool(time.time() - found["renewed"] > STALE_AFTER_S)
    except (KeyError, TypeError):
        return True


def _read(place: Place) -> dict[str, Any]:
    return _parsed(place.read(LOCK)) if place.has(LOCK) else {}


def _write(place: Place, holder: dict[str, Any]) -> None:
    if not place.files.type_name.startswith("s3"):  # an object store has no folders
        place.files.create_dir(place.path)
    with place.files.open_output_stream(f"{place.path}/{LOCK}") as stream:
        stream.write(json.dumps(holder | {"renewed": time.time()}).encode())


def _holder() -> dict[str, Any]:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}


def _parsed(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    return {}


def _in_use(out: Path | Place, holder: dict[str, Any], more: str = "") -> TrainingError:
    who = "another process"
    if {"process", "host", "since"} <= holder.keys():
        who = f"process {holder['process']} on {holder['host']} since {holder['since']}"
    return TrainingError(
        f"--out: {out} is in use by {who}: wait until it ends or name another folder{more}"
    )

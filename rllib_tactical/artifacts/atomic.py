"""Write files and folders so that a reader never sees half of one.

Content goes to a temporary name beside the target, is flushed to disk, and then takes the target's
name in one step. A failure leaves what was there before, if anything was, untouched. What a killed
process left behind is removed by the next one that writes the same file or folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_FILE: Final = r"\.[0-9a-f]{16}\.tmp\."
"""How a temporary file's name begins; the name that it is to take follows."""
_FOLDER: Final = r"[a-z0-9_]{8}(\.old)?"
"""How a temporary folder's name ends, after ``.NAME.writing-``."""


def is_left_over(name: str) -> bool:
    """Whether a name in a folder is of a half-written file or folder of this module."""
    return re.fullmatch(rf"{_FILE}.+|\..+\.writing-{_FOLDER}", name) is not None


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    The temporary name keeps the suffixes of ``path``, because writers choose a format by them. The
    file exists and is empty when the block starts; it has the permissions that a newly created
    file would have. On an error it is removed and ``path`` stays as it was.

    Raises:
        OSError: the folder is missing or not writable, or ``path`` is a folder.
    """
    target = Path(path)
    _remove_left_overs(target.parent, re.compile(_FILE + re.escape(target.name)))

    def make() -> Path:
        made = target.with_name(f".{secrets.token_hex(8)}.tmp.{target.name}")
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return made

    temporary, handle = _claim(make)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    finally:
        os.close(handle)
    # The new name itself is durable only once its folder is on disk.
    _sync(target.parent)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the content of ``path`` by ``data`` in one step.

    Raises:
        OSError: the folder is missing or not writable, or ``path`` is a folder.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace the content of ``path`` by ``text``, encoded as UTF-8, in one step.

    Raises:
        OSError: the folder is missing or not writable, or ``path`` is a folder.
    """
    atomic_write_bytes(path, text.encode())


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` when the block ends without an error.

    A folder that is there already is exchanged for the new one in a single step, so that whoever is
    killed, whenever, leaves the old one or the new one, whole. Where the file system has no such
    step (NFS) the old one is moved aside first, and for a moment there is none. The block has to
    flush the files it writes.

    Raises:
        OSError: the parent is missing or not writable, or ``path`` is a file.
    """
    target = Path(os.path.realpath(path))  # through a link, what it points at is replaced
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    prefix = f".{target.name}.writing-"
    _remove_left_overs(target.parent, re.compile(re.escape(prefix) + _FOLDER))
    staging, handle = _claim(lambda: Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent)))
    try:
        staging.chmod(0o777 & ~_umask())
        yield staging
        _sync(staging)
        _put_in_place(staging, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(handle)


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename ``staging`` to ``target``; an old ``target`` ends up under the name of ``staging``."""
    if not target.exists():
        os.rename(staging, target)
        return
    try:
        _exchange(staging, target)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
        aside = Path(f"{staging}.old")
        os.rename(target, aside)
        os.rename(staging, target)
        os.rename(aside, staging)


def _exchange(one: Path, other: Path) -> None:
    """Let two paths swap their names in one step (renameat2 with RENAME_EXCHANGE, Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


def _claim(make: Callable[[], Path]) -> tuple[Path, int]:
    """Return what ``make`` made and an open handle that marks it as a living writer's.

    The mark is a lock that the kernel releases however this process ends. Who came between the
    making and the marking took it for left over and removed it: then another one is made.
    """
    while True:
        made = make()
        with suppress(FileNotFoundError):
            handle = os.open(made, os.O_RDONLY)
            with suppress(OSError):  # without locks nobody removes anything either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if made.exists():
                return made, handle
            os.close(handle)


def _remove_left_overs(parent: Path, named: re.Pattern[str]) -> None:
    """Remove what writers that are no longer alive have begun in ``parent``."""
    with suppress(OSError):  # a folder that can be written to but not listed
        for name in filter(named.fullmatch, os.listdir(parent)):
            path = parent / name
            with suppress(OSError):
                handle = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer may be alive
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                finally:
                    os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

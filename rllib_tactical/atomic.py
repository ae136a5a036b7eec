"""Write files and folders so that a reader never sees half of one.

Content goes to a temporary name beside the target, is flushed to disk, and then takes the target's
name in one step. A failure leaves what was there before, if anything was, untouched.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp.{target.name}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
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
    step (NFS) the old one is moved aside first, and for a moment there is none. What a killed
    process left behind is removed by the next one that writes the same folder. The block has to
    flush the files it writes.

    Raises:
        OSError: the parent is missing or not writable, or ``path`` is a file.
    """
    target = Path(os.path.realpath(path))  # through a link, what it points at is replaced
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    prefix = f".{target.name}.writing-"
    _remove_left_overs(target.parent, prefix)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released by the kernel however this process ends
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


def _remove_left_overs(parent: Path, prefix: str) -> None:
    for entry in list(os.scandir(parent)):
        if not entry.name.startswith(prefix):
            continue
        with suppress(OSError):
            handle = os.open(entry.path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its writer may be alive
                shutil.rmtree(entry.path)
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

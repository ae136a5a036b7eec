"""Write files so that a reader never sees half of one.

Content goes to a temporary file in the target's own folder, is flushed to disk, and then takes the
target's name in one step. A failure leaves the old file, if there was one, untouched.
"""

from __future__ import annotations

import os
import secrets
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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

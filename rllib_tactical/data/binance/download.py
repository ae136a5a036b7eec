"""Download files whose SHA-256 is published beside them: resumable, verified, with retries.

``NAME`` comes with ``NAME.CHECKSUM``, a line ``<sha256>  <name>``. A download grows in
``NAME.part`` and takes its name only when its hash is right, so that a file of the final name is
always whole; a later call continues where an interrupted one stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import httpx

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.errors import DataError, UnreadableError, UsageError

ATTEMPTS: Final = 6
MAX_FILE_BYTES: Final = 256 << 20
MAX_CHECKSUM_BYTES: Final = 4096
_MAX_WAIT_S: Final = 30.0
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Result = TypeVar("Result")

Report = Callable[[int, int | None], None]
"""Called with the bytes that are on disk and the size of the file, where the server tells it."""


class _Transient(Exception):
    """The server asked to come back; ``wait_s`` where it said when."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Downloader:
    """Fetches verified files through one HTTP client."""

    def __init__(self, client: httpx.Client, sleep: Callable[[float], None] = time.sleep) -> None:
        """Use ``client``, which sets time limits and proxies; ``sleep`` waits between attempts."""
        self._client = client
        self._sleep = sleep

    def fetch(self, url: str, target: Path, report: Report | None = None) -> bool:
        """Make ``target`` the verified copy of ``url``; return whether anything was downloaded.

        A file that is there already is verified against the checksum that was kept with it, and
        downloaded again if it was altered. The folder of ``target`` must exist.

        Raises:
            DataError: the file does not match its checksum, or either is no such file; the bad
                file is removed.
            UnreadableError: not published, refused by the server, or the server is out of reach.
            UsageError: the folder cannot be written, or the disk is full.
        """
        beside = target.with_name(f"{target.name}.CHECKSUM")
        try:
            if target.is_file() and beside.is_file():
                kept = _parse_checksum(beside.read_text(errors="replace"), target.name)
                if kept is not None and _sha256(target) == kept:
                    return False
                target.unlink()
            text = self._small(f"{url}.CHECKSUM")
            expected = _parse_checksum(text, target.name)
            if expected is None:
                raise DataError(f"{url}.CHECKSUM: not a SHA-256 of {target.name}: {text[:80]!r}")
            self._verified(url, target, expected, report or (lambda done, size: None))
            atomic_write_text(beside, text)
        except OSError as error:
            raise UsageError(f"cannot write {target}: {error.strerror or error}") from error
        return True

    def _verified(self, url: str, target: Path, expected: str, report: Report) -> None:
        part = target.with_name(f"{target.name}.part")
        resumed = part.exists() and part.stat().st_size > 0
        # Killed between the last byte and the renaming, it is whole already.
        if not resumed or _sha256(part) != expected:
            self._download(url, part, report)
        found = _sha256(part)
        if found != expected and resumed:
            # The first part may be of an older version of the file.
            part.unlink()
            self._download(url, part, report)
            found = _sha256(part)
        if found != expected:
            part.unlink()
            raise DataError(
                f"{target.name}: the download does not match its checksum and was removed: "
                f"expected SHA-256 {expected}, found {found}"
            )
        os.replace(part, target)

    def _small(self, url: str) -> str:
        def get() -> str:
            content = b""
            with self._stream(url, {}) as response:
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > MAX_CHECKSUM_BYTES:
                        raise DataError(f"{url}: more than {MAX_CHECKSUM_BYTES} bytes, no checksum")
            return content.decode(errors="replace")

        return self._retried(url, get, lambda: 0)

    def _download(self, url: str, part: Path, report: Report) -> None:
        self._retried(
            url,
            lambda: self._continue(url, part, report),
            lambda: part.stat().st_size if part.exists() else 0,
        )

    def _continue(self, url: str, part: Path, report: Report) -> None:
        """Append what is missing of ``part``, or write it anew where the server cannot resume."""
        have = part.stat().st_size if part.exists() else 0
        asked = {"Range": f"bytes={have}-"} if have else {}
        with self._stream(url, asked) as response:
            if response.status_code == 416:
                # As long as the file or longer, yet not the file: its hash was looked at before.
                part.unlink()
                raise _Transient("the server has no bytes beyond the partial download", 0.0)
            begin, size = _extent(response, have)
            done = begin
            with part.open("ab" if begin else "wb") as stream:
                # As they arrive: pieces of a fixed size would lose what came before a cut.
                for chunk in response.iter_raw():
                    done += len(chunk)
                    if done > MAX_FILE_BYTES:
                        stream.close()
                        part.unlink()
                        raise DataError(f"{url}: larger than {MAX_FILE_BYTES >> 20} MiB, refused")
                    stream.write(chunk)
                    report(done, size)
                stream.flush()
                os.fsync(stream.fileno())

    @contextmanager
    def _stream(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        # The bytes on the wire are hashed, so the server must not encode them.
        headers = {"Accept-Encoding": "identity", **headers}
        with self._client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            status = response.status_code
            if status in _TRANSIENT:
                wait_s = _retry_after_s(response)
                raise _Transient(f"the server answered {status} {response.reason_phrase}", wait_s)
            if status == 404:
                raise UnreadableError(
                    f"{url}: not published (404): the month is not out yet or before the first "
                    "one, or there is no such symbol or interval"
                )
            if status not in (200, 206, 416):
                raise UnreadableError(f"{url}: refused: {status} {response.reason_phrase}".rstrip())
            yield response

    def _retried(self, url: str, work: Callable[[], Result], size: Callable[[], int]) -> Result:
        """Call ``work`` until it succeeds; an attempt that brought new bytes does not count."""
        attempt, most = 0, size()
        while True:
            wait_s: float | None = None
            try:
                return work()
            except _Transient as error:
                cause: Exception = error
                wait_s = error.wait_s
            except httpx.TransportError as error:
                cause = error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise UnreadableError(f"{url}: {error}") from error
            attempt += 1
            now = size()
            if now > most:
                attempt, most = 1, now
            if attempt >= ATTEMPTS:
                raise UnreadableError(
                    f"{url}: no success in {ATTEMPTS} attempts, the last: "
                    f"{str(cause) or type(cause).__name__}"
                ) from cause
            backoff_s = min(0.5 * 2.0 ** (attempt - 1), _MAX_WAIT_S)
            self._sleep(backoff_s if wait_s is None else wait_s)


def _extent(response: httpx.Response, have: int) -> tuple[int, int | None]:
    """Return where the answer's bytes begin and the size of the whole file, if it is told."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != have:
            raise UnreadableError(f"{response.url}: another range than asked for was sent")
        return have, int(told[2]) if told[2] != "*" else None
    return 0, int(length) if length.isdigit() else None


def _retry_after_s(response: httpx.Response) -> float | None:
    told = response.headers.get("Retry-After", "")
    return min(float(told), _MAX_WAIT_S) if told.isdigit() and len(told) < 9 else None


def _parse_checksum(text: str, name: str) -> str | None:
    """Return the hash of the one line ``<sha256>  <name>``; None if it is not that."""
    match = re.fullmatch(r"\s*([0-9a-fA-F]{64})[ \t]+\*?(\S+)\s*", text)
    if match is None or match[2].rpartition("/")[2] != name:
        return None
    return match[1].lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made if needed, against other processes that would write it.

    Raises:
        UsageError: the folder cannot be made, or another process holds it.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"cache folder {folder}: {error.strerror or error}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"cache folder {folder}: another fetch is using it") from error
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_UN)

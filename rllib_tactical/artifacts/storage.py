"""Folders on local disk or at a URI: S3, GCS, HDFS and what else pyarrow or fsspec can reach.

The same URIs that Ray's storage takes. Work is done in a local folder; a ``Mirror`` brings its
files to the URI and back.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from rllib_tactical.artifacts.folder_lock import LOCK, locked_folder
from rllib_tactical.artifacts.json_file import parse_object
from rllib_tactical.errors import UnreadableError, UsageError

COMPLETE: Final = "checkpoint.json"
"""The file that makes a checkpoint complete: it is uploaded after all others."""

SECONDS_BETWEEN_PUSHES: Final = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A folder somewhere: ``name`` as the user gave it, without a query; ``path`` within ``files``.

    Travels to Ray workers; credentials that are not part of the URI are taken from there.
    """

    name: str
    files: Any
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is an ordinary folder of this machine."""
        return isinstance(self.files, fs.LocalFileSystem)

    @property
    def local(self) -> Path:
        """The folder as a path, where it is one."""
        return Path(self.path)

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, more: str) -> Place:
        return Place(f"{self.name}/{more}", self.files, f"{self.path}/{more}")

    def has(self, name: str) -> bool:
        """Whether the folder has a file of that name."""
        kind = self.files.get_file_info(f"{self.path}/{name}").type
        return bool(kind == fs.FileType.File)

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            UnreadableError: it is not there or cannot be read.
        """
        try:
            with self.files.open_input_stream(f"{self.path}/{name}") as stream:
                content: bytes = stream.read()
        except OSError as error:
            raise UnreadableError(f"{self.name}/{name}: cannot be read: {error}") from error
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the object that a JSON file holds.

        Raises:
            UnreadableError: it is not there, or is not valid.
        """
        return parse_object(self.read(name), f"{self.name}/{name}")

    def files_below(self) -> dict[str, int]:
        """Return all files below the folder: relative names and sizes; none where it is missing."""
        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = self.files.get_file_info(selector)
        skip = len(self.path.rstrip("/")) + 1
        return {info.path[skip:]: info.size for info in found if info.type == fs.FileType.File}


def place_of(text: str | Path) -> Place:
    """Return the folder that a path or a URI names; nothing is created.

    ``s3://bucket/key?scheme=http&endpoint_override=host:port`` reaches an S3-compatible server.

    Raises:
        UsageError: a URI of an unknown kind or with a wrong option.
    """
    uri = str(text)
    if "://" not in uri:
        return Place(uri, fs.LocalFileSystem(), str(Path(uri).absolute()))
    parts = urlsplit(uri)
    # without a password and options: it is printed
    name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    try:
        files, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, ValueError, OSError) as error:
        if "nrecognized filesystem" not in str(error):
            raise UsageError(f"--out: {uri}: {error}") from error
        files, path = _of_fsspec(uri, parts.scheme)
    return Place(name, files, path.rstrip("/"))


def _of_fsspec(uri: str, scheme: str) -> tuple[Any, str]:
    import fsspec

    try:
        found, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError, OSError) as error:
        raise UsageError(f"--out: {scheme}:// is not a storage that is known: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


class Mirror:
    """A local folder and the place whose files it is to have.

    Only files that changed are sent. Hidden files and folders are left out: half-written ones.
    """

    def __init__(self, local: Path, place: Place) -> None:
        self.local, self.place = local, place
        self._sent: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def pull(self, leave_out: str | None = None) -> None:
        """Bring everything that is at the place, except folders of the name ``leave_out``."""
        for name in self.place.files_below():
            parts = PurePosixPath(name).parts
            if leave_out not in parts and name != LOCK:
                self.fetch(name)

    def fetch(self, name: str) -> None:
        """Bring one file."""
        target = self.local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fs.copy_files(
            f"{self.place.path}/{name}",
            str(target),
            source_filesystem=self.place.files,
            destination_filesystem=fs.LocalFileSystem(),
        )
        self._sent[name] = _state(target)

    def push(self) -> None:
        """Bring the place up to date: new files first, then what makes a checkpoint complete.

        What is gone here is removed there last, so that the newest checkpoint is never missing.
        """
        with self._lock:
            here = self._files()
            changed = [name for name, state in here.items() if self._sent.get(name) != state]
            for name in sorted(changed, key=lambda name: (name.endswith(COMPLETE), name)):
                self._send(name, here[name])
            for name in sorted(
                set(self._sent) - set(here), key=lambda name: not name.endswith(COMPLETE)
            ):
                with suppress(FileNotFoundError):
                    self.place.files.delete_file(f"{self.place.path}/{name}")
                del self._sent[name]

    def _send(self, name: str, state: tuple[int, int]) -> None:
        target = f"{self.place.path}/{name}"
        if not self.place.files.type_name.startswith("s3"):  # an object store has no folders
            self.place.files.create_dir(target.rpartition("/")[0])
        try:
            fs.copy_files(
                str(self.local / name),
                target,
                source_filesystem=fs.LocalFileSystem(),
                destination_filesystem=self.place.files,
            )
        except FileNotFoundError:
            if (self.local / name).exists():
                raise
            return  # an old checkpoint that was dropped meanwhile
        self._sent[name] = state

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self.local.rglob("*"):
            relative = path.relative_to(self.local)
            if any(part.startswith(".") for part in relative.parts):
                continue
            with suppress(FileNotFoundError):
                if path.is_file():
                    found[relative.as_posix()] = _state(path)
        return found


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@contextmanager
def working_folder(place: str | Path, resume: bool) -> Iterator[Path]:
    """Yield a local folder for what is to be at a path or a URI.

    For a path it is that path. For a URI it is a temporary folder, which begins with what is there
    if ``resume``; changes are sent every few seconds and at the end, also after an error. Whether
    anything may be there already is for the caller to check.

    Raises:
        TrainingError: another process works at the URI. A path is for the caller to lock.
    """
    there = place_of(place)
    if there.is_local:
        yield there.local if isinstance(place, str) else place
        return
    with locked_folder(there):
        local = Path(tempfile.mkdtemp(prefix="tactical-"))
        mirror = Mirror(local, there)
        ended = threading.Event()
        try:
            if resume:
                mirror.pull()
            pusher = threading.Thread(target=_push_until, args=(mirror, ended), daemon=True)
            pusher.start()
            try:
                yield local
            finally:
                ended.set()
                pusher.join()
                mirror.push()
        finally:
            shutil.rmtree(local, ignore_errors=True)


def _push_until(mirror: Mirror, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_PUSHES):
        with suppress(OSError):  # tried again; the last push at the end says what is wrong
            mirror.push()

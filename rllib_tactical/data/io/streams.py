"""Open the bytes of a file: as they are, unpacked (gzip, zip, zstandard), UTF-16 as UTF-8.

What a file is gets decided by its content, so a wrong suffix does no harm; only a suffix that
promises a binary format must be true.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from rllib_tactical.errors import UnreadableError

HEAD_BYTES: Final = 1 << 16
SUFFIXES: Final = ".csv, .csv.gz, .parquet or .feather"
# Of a zip with a damaged header, zipfile says that it does not implement it or cannot read a name.
DAMAGES: Final = (
    EOFError,
    zlib.error,
    OSError,
    pa.ArrowException,
    zipfile.BadZipFile,
    NotImplementedError,
    UnicodeDecodeError,
)
"""What reading a damaged file raises."""

_MAGIC: Final = {
    "parquet": b"PAR1",
    "feather": b"ARROW1",
    "feather v1": b"FEA1",
    "gzip": b"\x1f\x8b",
    "zip": b"PK\x03\x04",
    "zstd": b"\x28\xb5\x2f\xfd",
    "dbn": b"DBN",
}
_ENCRYPTED: Final = 1
PACKED: Final = ("gzip", "zip", "zstd")
_PROMISED: Final = {
    ".parquet": ("parquet",),
    ".pq": ("parquet",),
    ".feather": ("feather", "feather v1"),
    ".arrow": ("feather",),
    ".gz": ("gzip",),
    ".zip": ("zip",),
    ".zst": ("zstd",),
    ".dbn": ("dbn",),
}


class Bytes:
    """The unpacked bytes of a file, which can be opened again and again.

    ``kind`` is ``text``, ``parquet``, ``feather`` or ``dbn``; ``head`` holds the first bytes, of
    text as UTF-8; ``packed`` names the packing, if any; ``member`` is the name of the file in a
    zip.
    """

    def __init__(self, path: Path) -> None:
        """Find out what is in the file.

        Raises:
            UnreadableError: no such file, a folder, no permission, damaged or binary content.
        """
        self.path = path
        self.packed: str | None = None
        self.member = ""
        """Name of the file in a zip."""
        self._encoding: str | None = None
        self._handle: Any = None
        try:
            self.size = max(path.stat().st_size, 1)
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise UnreadableError(f"{str(path)!r}: {error}") from error
        self.kind = _kind(path, path, head)
        if self.kind in PACKED:
            self.packed = self.kind
            try:
                with ExitStack() as stack:
                    head = self._unpacked(stack).read(HEAD_BYTES)
            except DAMAGES as error:
                raise self.damaged(error) from error
            name = Path(self.member) if self.packed == "zip" else path.with_suffix("")
            self.kind = _kind(path, name, head)
        if self.kind == "text":
            self._encoding = _utf16(head)
            if self._encoding is not None:
                with ExitStack() as stack:
                    head = self.open(stack).read(HEAD_BYTES)
        self.head = head

    def open(self, stack: ExitStack, skip: int = 0) -> Any:
        """Open the unpacked bytes for reading, behind ``skip`` of them; ``stack`` closes them."""
        stream = self._unpacked(stack)
        if self._encoding is not None:
            stream = io.BufferedReader(_Utf8(stream, self._encoding))
        elif self.packed is None:
            stream.seek(skip)
            return stream
        while skip > 0:
            skip -= len(stream.read(min(skip, HEAD_BYTES))) or skip
        return stream

    def share(self) -> float:
        """Return the share of the file, 0..1, that the stream opened last has read."""
        return min(float(self._handle.tell()) / self.size, 1.0)

    def damaged(self, error: BaseException) -> UnreadableError:
        """Return the error to raise for damaged content."""
        kind = self.packed if self.packed and self.kind in (*PACKED, "text") else self.kind
        said = " ".join(str(error).split())[:200]
        return UnreadableError(f"{self.path}: damaged {kind} file: {said}")

    def _unpacked(self, stack: ExitStack) -> Any:
        self._handle = stack.enter_context(self.path.open("rb"))
        if self.packed == "gzip":
            return stack.enter_context(gzip.GzipFile(fileobj=self._handle))
        if self.packed == "zstd":
            return io.BufferedReader(
                stack.enter_context(pa.CompressedInputStream(self._handle, "zstd"))
            )
        if self.packed == "zip":
            archive = stack.enter_context(zipfile.ZipFile(self._handle))
            return stack.enter_context(archive.open(self._only_member(archive)))
        return self._handle

    def _only_member(self, archive: zipfile.ZipFile) -> str:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if any(name.startswith(("xl/", "content.xml")) for name in names):
            raise UnreadableError(f"{self.path}: a spreadsheet: save it as CSV")
        if len(names) != 1:
            raise UnreadableError(
                f"{self.path}: the zip must hold one file, found {len(names)}: unpack it and name "
                "the one that is meant"
            )
        if archive.getinfo(names[0]).flag_bits & _ENCRYPTED:
            raise UnreadableError(f"{self.path}: the zip is encrypted: unpack it")
        self.member = names[0]
        return names[0]


class _Utf8(io.RawIOBase):
    """A stream of UTF-16 as UTF-8."""

    def __init__(self, source: Any, encoding: str) -> None:
        self._source = source
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._source.read(HEAD_BYTES)
            self._ready = self._decode(data, not data).encode()
            if not data:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


def _utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text, known by its mark or by its zeros; None of other text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, letters = head[first:512:2], head[1 - first : 512 : 2]
        if len(zeros) > 8 and not any(zeros) and 0 not in letters:
            return encoding
    return None


def _kind(path: Path, named: Path, head: bytes) -> str:
    kind = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), "text")
    promised = _PROMISED.get(named.suffix.lower())
    if promised is not None and kind not in promised:
        raise UnreadableError(f"{path}: not a {promised[0]} file, as its name says")
    return kind

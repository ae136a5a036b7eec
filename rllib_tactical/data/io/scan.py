"""Read a table piece by piece: CSV (also gzipped), Parquet and Feather.

What a file is gets decided by its content, so a wrong suffix does no harm; only a suffix that
promises a binary format must be true. CSV cells are kept as text, so that a cell that cannot be
read as a number is reported with its row instead of failing the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from rllib_tactical.errors import UnreadableError

BLOCK_BYTES: Final = 4 << 20
BLOCK_ROWS: Final = 1 << 17

_HEAD_BYTES: Final = 1 << 16
_MAGIC: Final = {
    "parquet": b"PAR1",
    "feather": b"ARROW1",
    "feather v1": b"FEA1",
    "gzip": b"\x1f\x8b",
}
_PROMISED: Final = {
    ".parquet": ("parquet",),
    ".pq": ("parquet",),
    ".feather": ("feather", "feather v1"),
    ".arrow": ("feather",),
    ".gz": ("gzip",),
}
SUFFIXES: Final = ".csv, .csv.gz, .parquet or .feather"


Share = Callable[[float], None]
"""Called with the share of the file, 0..1, that has been read."""


class Scan:
    """A file opened for reading in pieces; close it, or use it in a ``with`` statement.

    ``names`` holds the names of the columns, in order.
    """

    def __init__(self, path: Path, block_bytes: int = 0, block_rows: int = 0) -> None:
        """Open ``path`` and read its header; pieces have about so many bytes or rows.

        Raises:
            UnreadableError: no such file, a folder, no permission, damaged or binary content.
        """
        self._path = path
        self._block_bytes = block_bytes or BLOCK_BYTES
        self._block_rows = block_rows or BLOCK_ROWS
        self._stack = ExitStack()
        self._delimiter = ","
        self._table: Any = None
        self._body = 0
        self.names: tuple[str, ...] = ()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def pieces(self, positions: tuple[int, ...], share: Share) -> Iterator[pd.DataFrame]:
        """Yield the columns at ``positions`` piece by piece, in order.

        A CSV file whose rows are uneven or not UTF-8 shows that only on the way: then
        ``UnevenError`` is raised, and ``uneven_pieces`` yields the file from its start.

        Raises:
            UnreadableError: the content is damaged.
        """
        try:
            if self._kind == "text":
                yield from self._text_pieces(positions, share)
            else:
                yield from self._table_pieces(positions, share)
        except UnevenError:
            raise
        except (EOFError, zlib.error, OSError, pa.ArrowException, ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def uneven_pieces(self, positions: tuple[int, ...], share: Share) -> Iterator[pd.DataFrame]:
        """Yield what ``pieces`` yields, read row by row: any row and any bytes will do.

        A short row is filled up with empty cells, surplus cells of a long row are joined to its
        last one, and bytes that are not UTF-8 become U+FFFD.

        Raises:
            UnreadableError: the content is damaged, or a cell is larger than 128 KiB.
        """
        width = len(self.names)
        try:
            with self._text() as stream:
                lines = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
                block: list[list[str]] = []
                for row in csv.reader(lines, delimiter=self._delimiter):
                    if not row:
                        continue
                    if len(row) > width:
                        row = [*row[: width - 1], self._delimiter.join(row[width - 1 :])]
                    block.append(row + [""] * (width - len(row)))
                    if len(block) == self._block_rows:
                        yield _text_frame(block, positions)
                        share(self._share())
                        block = []
                yield _text_frame(block, positions)
        except csv.Error as error:
            raise UnreadableError(f"{self._path}: not a CSV file: {error}") from error
        except (EOFError, zlib.error, OSError) as error:
            raise self._damaged(error) from error

    def _open(self) -> None:
        try:
            self._size = max(self._path.stat().st_size, 1)
            self._file: Any = self._stack.enter_context(self._path.open("rb"))
            head = self._file.read(_HEAD_BYTES)
        except OSError as error:
            raise UnreadableError(f"{self._path}: {error.strerror or error}") from error
        except ValueError as error:
            raise UnreadableError(f"{str(self._path)!r}: {error}") from error
        self._kind = _kind(self._path, self._path, head)
        self._gzipped = self._kind == "gzip"
        stream: Any = self._file
        try:
            if self._gzipped:
                self._file.seek(0)
                stream = self._stack.enter_context(gzip.GzipFile(fileobj=self._file))
                head = stream.read(_HEAD_BYTES)
                self._kind = _kind(self._path, self._path.with_suffix(""), head)
            if self._kind in ("parquet", "feather"):
                self._open_table(stream)
            elif self._kind == "text":
                self._open_text(stream, head)
            else:
                raise UnreadableError(
                    f"{self._path}: {self._kind} files are not supported, expected {SUFFIXES}"
                )
        except (EOFError, zlib.error, OSError, pa.ArrowException, TypeError) as error:
            raise self._damaged(error) from error

    def _open_table(self, stream: Any) -> None:
        # A packed binary file is rare, and has to be unpacked as a whole: it is read from its end.
        stream.seek(0)
        source = io.BytesIO(stream.read()) if self._gzipped else stream
        try:
            if self._kind == "parquet":
                self._table = pa.parquet.ParquetFile(source)
                self.names = tuple(self._table.schema_arrow.names)
            else:
                self._table = pa.ipc.open_file(source)
                self.names = tuple(self._table.schema.names)
        except ValueError as error:
            raise self._damaged(error) from error

    def _table_pieces(self, positions: tuple[int, ...], share: Share) -> Iterator[pd.DataFrame]:
        total, done = 0, 0
        if self._kind == "parquet":
            total = self._table.metadata.num_rows
            wanted = [self.names[position] for position in positions]
            # Names select columns in the file's order; a name that is there twice selects both.
            unique = all(self.names.count(name) == 1 and "." not in name for name in wanted)
            batches = self._table.iter_batches(self._block_rows, columns=wanted if unique else None)
        else:
            batches = (
                batch.slice(begin, self._block_rows)
                for batch in map(self._table.get_batch, range(self._table.num_record_batches))
                for begin in range(0, max(batch.num_rows, 1), self._block_rows)
            )
            unique = False
        for batch in batches:
            at = [batch.schema.get_field_index(n) for n in wanted] if unique else positions
            columns = [batch.column(i).to_pandas(date_as_object=False) for i in at]
            yield pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(batch.num_rows))
            done += batch.num_rows
            share(done / total if total else 0.0)

    def _open_text(self, stream: Any, head: bytes) -> None:
        if b"\x00" in head:
            raise UnreadableError(f"{self._path}: binary content, expected {SUFFIXES}")
        begin = 3 if head.startswith(b"\xef\xbb\xbf") else 0
        while head[begin : begin + 1] in (b"\r", b"\n"):
            begin += 1
            if begin == len(head):
                head += stream.read(_HEAD_BYTES)
        while _line_end(head, begin) == len(head):
            more = stream.read(BLOCK_BYTES)
            if not more:
                break
            head += more
        end = _line_end(head, begin)
        line = head[begin:end]
        self._body = end
        if not line.strip():
            rest = head[end:] + stream.read()
            if not rest.strip():
                self.names = ()
                return
        try:
            text = line.decode()
            self._delimiter = max(",;\t|", key=text.count)
            row = next(csv.reader([text], delimiter=self._delimiter))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UnreadableError(f"{self._path}: the header is not UTF-8 text: {error}") from error
        self.names = tuple(name.strip() for name in row)

    def _text_pieces(self, positions: tuple[int, ...], share: Share) -> Iterator[pd.DataFrame]:
        if not self.names:
            return
        keys = [str(number) for number in range(len(self.names))]
        wanted = [keys[position] for position in positions]
        try:
            with self._text() as stream:
                reader = pa.csv.open_csv(
                    pa.PythonFile(stream, mode="r"),
                    read_options=pa.csv.ReadOptions(
                        column_names=keys, block_size=self._block_bytes, use_threads=False
                    ),
                    parse_options=pa.csv.ParseOptions(delimiter=self._delimiter),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(keys, pa.string()), include_columns=wanted
                    ),
                )
                for batch in reader:
                    yield batch.to_pandas()
                    share(self._share())
        except pa.ArrowInvalid as error:
            raise UnevenError from error

    @contextmanager
    def _text(self) -> Iterator[BinaryIO]:
        """Open the text anew, behind its header: readers close what they were given."""
        with ExitStack() as stack:
            self._file = stack.enter_context(self._path.open("rb"))
            stream: Any = self._file
            if self._gzipped:
                stream = stack.enter_context(gzip.GzipFile(fileobj=self._file))
            stream.seek(self._body)
            yield stream

    def _share(self) -> float:
        return min(float(self._file.tell()) / self._size, 1.0)

    def _damaged(self, error: BaseException) -> UnreadableError:
        kind = "gzip" if self._gzipped and self._table is None else self._kind
        return UnreadableError(f"{self._path}: damaged {kind} file: {_one_line(error)}")


class UnevenError(Exception):
    """The fast reader met a row of another length or bytes that are not UTF-8."""


def _text_frame(rows: list[list[str]], positions: tuple[int, ...]) -> pd.DataFrame:
    columns = {number: [row[at] for row in rows] for number, at in enumerate(positions)}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)), dtype=str)


def _kind(path: Path, named: Path, head: bytes) -> str:
    kind = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), "text")
    promised = _PROMISED.get(named.suffix.lower())
    if promised is not None and kind not in promised:
        raise UnreadableError(f"{path}: not a {promised[0]} file, as its name says")
    return kind


def _line_end(data: bytes, begin: int) -> int:
    ends = [end for end in (data.find(b"\n", begin), data.find(b"\r", begin)) if end >= 0]
    return min(ends, default=len(data))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

"""Read CSV text: its delimiter, its header, its rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from rllib_tactical.data.io.streams import SUFFIXES, Bytes
from rllib_tactical.errors import UnreadableError

DELIMITERS: Final = ",;\t|"
_SAMPLE_ROWS: Final = 2_000


class NotNumbersError(Exception):
    """A column that was to be read as numbers holds a cell that is none, or is not finite."""


class UnevenError(Exception):
    """The fast reader met a row of another length or bytes that are not UTF-8."""


class TextTable:
    """A CSV file. ``names`` are the cells of its header, ``sample`` its first rows as text."""

    def __init__(self, source: Bytes, block_bytes: int, block_rows: int) -> None:
        """Find the delimiter, the header and the first rows.

        Raises:
            UnreadableError: binary content, or a header that is not UTF-8.
        """
        self._source = source
        self._block_bytes = block_bytes
        self._block_rows = block_rows
        self.names: tuple[str, ...] = ()
        self.sample: list[list[str]] = []
        self.delimiter = ","
        self._body = 0
        self._row_ends: list[int] = []
        self._read_head()

    def begin_at(self, row: int, names: tuple[str, ...]) -> None:
        """Let the data begin at a row of ``sample``, with these names of its columns."""
        if self._row_ends:
            self._body = self._row_ends[row - 1] if row else self._begin
        self.names = names

    def pieces(
        self,
        positions: tuple[int, ...],
        share: Callable[[float], None],
        numbers: tuple[int, ...] = (),
    ) -> Iterator[pd.DataFrame]:
        """Yield the columns at ``positions`` as text, those at ``numbers`` as float64.

        Raises:
            UnevenError: a row of another length, or bytes that are not UTF-8.
            NotNumbersError: a cell at ``numbers`` is no finite number; its text tells why.
        """
        if not self.names:
            return
        keys = [str(number) for number in range(len(self.names))]
        wanted = [keys[position] for position in positions]
        floats = [keys[position] for position in numbers]
        types = dict.fromkeys(keys, pa.string()) | dict.fromkeys(floats, pa.float64())
        try:
            with ExitStack() as stack:
                reader = pa.csv.open_csv(
                    pa.PythonFile(self._source.open(stack, self._body), mode="r"),
                    read_options=pa.csv.ReadOptions(
                        column_names=keys, block_size=self._block_bytes, use_threads=False
                    ),
                    parse_options=pa.csv.ParseOptions(delimiter=self.delimiter),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=types, include_columns=wanted, null_values=[]
                    ),
                )
                for batch in reader:
                    piece = batch.to_pandas()
                    if not all(np.isfinite(piece[key].to_numpy()).all() for key in floats):
                        raise NotNumbersError
                    yield piece
                    share(self._source.share())
        except pa.ArrowInvalid as error:
            if "conversion error" in str(error) and floats:
                raise NotNumbersError from error
            raise UnevenError from error

    def uneven_pieces(
        self,
        positions: tuple[int, ...],
        share: Callable[[float], None],
        long_rows: list[int],
    ) -> Iterator[pd.DataFrame]:
        """Yield the columns at ``positions``, row by row; fill ``long_rows`` on the way."""
        width, count = len(self.names), 0
        try:
            with ExitStack() as stack:
                stream = self._source.open(stack, self._body)
                lines = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
                block: list[list[str]] = []
                for row in csv.reader(lines, delimiter=self.delimiter):
                    if not row:
                        continue
                    if len(row) > width:
                        if any(cell.strip() for cell in row[width:]):
                            long_rows.append(count)
                            row = [*row[: width - 1], self.delimiter.join(row[width - 1 :])]
                        else:  # some programs write a delimiter behind the last cell
                            row = row[:width]
                    block.append(row + [""] * (width - len(row)))
                    count += 1
                    if len(block) == self._block_rows:
                        yield _text_frame(block, positions)
                        share(self._source.share())
                        block = []
                yield _text_frame(block, positions)
        except csv.Error as error:
            raise UnreadableError(f"{self._source.path}: not a CSV file: {error}") from error

    def _read_head(self) -> None:
        path, head = self._source.path, self._source.head
        if b"\x00" in head:
            raise UnreadableError(f"{path}: binary content, expected {SUFFIXES}")
        begin = 3 if head.startswith(b"\xef\xbb\xbf") else 0
        with ExitStack() as stack:
            stream = self._source.open(stack, len(head))
            while head[begin : begin + 1] in (b"\r", b"\n"):
                begin += 1
                if begin == len(head):
                    head += stream.read(1 << 16)
            while _line_end(head, begin) == len(head):
                more = stream.read(4 << 20)
                if not more:
                    break
                head += more
            self._begin = self._body = begin
            end = _line_end(head, begin)
            line = head[begin:end]
            if not line.strip() and not head[end:].strip() and not stream.read().strip():
                return
        try:
            text = line.decode()
            self.delimiter = max(DELIMITERS, key=text.count)
            row = next(csv.reader([text], delimiter=self.delimiter))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UnreadableError(f"{path}: the header is not UTF-8 text: {error}") from error
        self.names = tuple(name.strip() for name in row)
        self._body = end
        self._sample_rows(head, begin)

    def _sample_rows(self, head: bytes, begin: int) -> None:
        whole = len(head) < 1 << 16
        while begin < len(head) and len(self.sample) < _SAMPLE_ROWS:
            end = _line_end(head, begin)
            if end == len(head) and not whole and self.sample:
                break  # the line goes on behind the head
            line = head[begin:end].decode(errors="replace")
            begin = end + 1
            if line.strip():
                row = next(csv.reader([line], delimiter=self.delimiter), [])
                self.sample.append([cell.strip() for cell in row])
                self._row_ends.append(end)


def _text_frame(rows: list[list[str]], positions: tuple[int, ...]) -> pd.DataFrame:
    columns = {number: [row[at] for row in rows] for number, at in enumerate(positions)}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)), dtype=str)


def _line_end(data: bytes, begin: int) -> int:
    ends = [end for end in (data.find(b"\n", begin), data.find(b"\r", begin)) if end >= 0]
    return min(ends, default=len(data))

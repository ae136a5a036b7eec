"""Read a table piece by piece: CSV (also packed), JSON, Parquet, Feather and DBN.

CSV cells are kept as text, so that a cell that cannot be read as a number is reported with its row
instead of failing the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pandas as pd

from rllib_tactical.data.io.dbn import dbn_table
from rllib_tactical.data.io.streams import DAMAGES, SUFFIXES, Bytes
from rllib_tactical.data.io.tables import ArrowTable, json_table
from rllib_tactical.data.io.text import NotNumbersError, TextTable, UnevenError
from rllib_tactical.errors import UnreadableError

__all__ = ["BLOCK_BYTES", "BLOCK_ROWS", "SUFFIXES", "NotNumbersError", "Scan", "UnevenError"]

BLOCK_BYTES: Final = 4 << 20
BLOCK_ROWS: Final = 1 << 17

Share = Callable[[float], None]
"""Called with the share of the file, 0..1, that has been read."""


class Scan:
    """A file opened for reading in pieces; close it, or use it in a ``with`` statement.

    ``names`` holds the names of the columns, in order, and ``sample`` the text of the first rows:
    of a CSV file with its header, of other files without one.
    """

    def __init__(self, path: Path, block_bytes: int = 0, block_rows: int = 0) -> None:
        """Open ``path`` and read its header; pieces have about so many bytes or rows.

        Raises:
            UnreadableError: no such file, a folder, no permission, damaged or binary content.
        """
        self.path = path
        self.bytes = Bytes(path)
        self._stack = ExitStack()
        self.long_rows: list[int] = []
        """Rows of the pieces yielded so far that have more cells than the header has names."""
        try:
            self._table = self._open(block_bytes or BLOCK_BYTES, block_rows or BLOCK_ROWS)
        except DAMAGES as error:
            self.close()
            raise self.bytes.damaged(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self._table.names

    @property
    def sample(self) -> list[list[str]]:
        """The text of the first rows."""
        return self._table.sample

    @property
    def text(self) -> TextTable | None:
        """The table of a CSV file, None of other files."""
        return self._table if isinstance(self._table, TextTable) else None

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def pieces(
        self, positions: tuple[int, ...], share: Share, numbers: tuple[int, ...] = ()
    ) -> Iterator[pd.DataFrame]:
        """Yield the columns at ``positions`` piece by piece, in order.

        Of a CSV file those at ``numbers`` are parsed at once, which is faster than as text: then
        ``NotNumbersError`` is raised at a cell that is no finite number. A CSV file whose rows are
        uneven or not UTF-8 shows that only on the way: then ``UnevenError`` is raised, and
        ``uneven_pieces`` yields the file from its start.

        Raises:
            UnreadableError: the content is damaged.
        """
        try:
            if self.text is not None:
                yield from self.text.pieces(positions, share, numbers)
            else:
                yield from self._table.pieces(positions, share)
        except (NotNumbersError, UnevenError):
            raise
        except (*DAMAGES, ValueError, TypeError) as error:
            raise self.bytes.damaged(error) from error

    def uneven_pieces(self, positions: tuple[int, ...], share: Share) -> Iterator[pd.DataFrame]:
        """Yield what ``pieces`` yields, read row by row: any row and any bytes will do.

        A short row is filled up with empty cells, surplus cells of a long row are joined to its
        last one, and bytes that are not UTF-8 become U+FFFD.

        Raises:
            UnreadableError: the content is damaged, or a cell is larger than 128 KiB.
        """
        if self.text is None:
            raise UnreadableError(f"{self.path}: only text has uneven rows")
        self.long_rows = []
        try:
            yield from self.text.uneven_pieces(positions, share, self.long_rows)
        except DAMAGES as error:
            raise self.bytes.damaged(error) from error

    def _open(self, block_bytes: int, block_rows: int) -> TextTable | ArrowTable:
        if self.bytes.kind == "text":
            if re.match(rb"\s*\[\s*[\[{]", self.bytes.head):
                return json_table(self.bytes, block_rows)
            return TextTable(self.bytes, block_bytes, block_rows)
        if self.bytes.kind in ("parquet", "feather"):
            return ArrowTable.open(self.bytes, block_rows, self._stack)
        if self.bytes.kind == "dbn":
            return dbn_table(self.bytes, block_rows)
        raise UnreadableError(
            f"{self.path}: {self.bytes.kind} files are not supported, expected {SUFFIXES}"
        )

"""Read tables that are no text: Parquet, Feather, and JSON as freqtrade and exchanges write it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from rllib_tactical.data.io.streams import Bytes
from rllib_tactical.errors import UnreadableError

_SAMPLE_ROWS: Final = 50


class ArrowTable:
    """A table whose ``batches`` can be read again and again, each with all of its columns."""

    def __init__(
        self,
        names: tuple[str, ...],
        rows: int,
        block_rows: int,
        batches: Callable[[list[str] | None, int], Iterator[Any]],
    ) -> None:
        """Wrap a function that yields Arrow batches, of the named columns or of all, and so long.

        ``rows`` is the number of rows, 0 where it is not known.
        """
        self.names = names
        self._rows = rows
        self._block_rows = block_rows
        self._batches = batches
        self.sample = self._sample()

    @classmethod
    def open(cls, source: Bytes, block_rows: int, stack: ExitStack) -> ArrowTable:
        """Open a Parquet or Feather file; ``stack`` closes it.

        Raises:
            UnreadableError: the content is damaged.
        """
        seekable: Any
        if source.packed:  # rare, and unpacked as a whole: such a file is read from its end
            seekable = io.BytesIO(source.open(stack).read())
        else:  # Arrow's own file, as what it reads of Python's stays in Python's memory
            seekable = stack.enter_context(pa.OSFile(str(source.path)))
        try:
            if source.kind == "parquet":
                return _parquet(pa.parquet.ParquetFile(seekable), block_rows)
            return _feather(pa.ipc.open_file(seekable), block_rows)
        except (ValueError, TypeError) as error:
            raise source.damaged(error) from error

    def pieces(
        self, positions: tuple[int, ...], share: Callable[[float], None]
    ) -> Iterator[pd.DataFrame]:
        """Yield the columns at ``positions`` as they are stored."""
        wanted = [self.names[position] for position in positions]
        # Names select columns in the file's order; a name that is there twice selects both.
        unique = all(self.names.count(name) == 1 and "." not in name for name in wanted)
        done = 0
        for batch in self._batches(wanted if unique else None, self._block_rows):
            only = unique and batch.num_columns == len(wanted)
            at = [batch.schema.get_field_index(n) for n in wanted] if only else positions
            columns = [batch.column(i).to_pandas(date_as_object=False) for i in at]
            yield pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(batch.num_rows))
            done += batch.num_rows
            share(done / self._rows if self._rows else 0.0)

    def _sample(self) -> list[list[str]]:
        for batch in self._batches(None, _SAMPLE_ROWS):
            columns = [column.to_pandas(date_as_object=False) for column in batch.columns]
            return [
                ["" if value is None else str(value) for value in row]
                for row in zip(*columns, strict=True)
            ]
        return []


def json_table(source: Bytes, block_rows: int) -> ArrowTable:
    """Return a JSON file of rows: lists of equal length, or objects with the same keys.

    Lists are named ``0``, ``1``, ... It is read into memory as a whole.

    Raises:
        UnreadableError: no JSON, or no list of such rows.
    """
    with ExitStack() as stack:
        try:
            rows = json.load(source.open(stack))
        except (ValueError, RecursionError) as error:
            raise source.damaged(error) from error
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(r, type(rows[0])) for r in rows)
    ):
        raise UnreadableError(f"{source.path}: the JSON must be a list of rows")
    if isinstance(rows[0], dict):
        keys = list(rows[0])
        columns = {key: [row.get(key) for row in rows] for key in keys}
    elif isinstance(rows[0], list) and len({len(row) for row in rows}) == 1:
        columns = {str(at): [row[at] for row in rows] for at in range(len(rows[0]))}
    else:
        raise UnreadableError(
            f"{source.path}: the rows of the JSON must be objects, or lists of equal length"
        )
    frame = pd.DataFrame(columns)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, OverflowError):
        # Columns of numbers and text mixed: their cells are judged one by one.
        table = pa.Table.from_pandas(frame.astype(str), preserve_index=False)

    def batches(wanted: list[str] | None, length: int) -> Iterator[Any]:
        yield from (table if wanted is None else table.select(wanted)).to_batches(length)

    return ArrowTable(tuple(columns), len(rows), block_rows, batches)


def _parquet(file: Any, block_rows: int) -> ArrowTable:
    def batches(wanted: list[str] | None, length: int) -> Iterator[Any]:
        yield from file.iter_batches(length, columns=wanted)

    names = tuple(file.schema_arrow.names)
    return ArrowTable(names, file.metadata.num_rows, block_rows, batches)


def _feather(file: Any, block_rows: int) -> ArrowTable:
    def batches(wanted: list[str] | None, length: int) -> Iterator[Any]:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            for begin in range(0, max(batch.num_rows, 1), length):
                yield batch.slice(begin, length)

    return ArrowTable(tuple(file.schema.names), 0, block_rows, batches)

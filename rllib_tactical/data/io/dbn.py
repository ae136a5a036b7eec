"""Read DBN files (Databento's binary encoding) by Databento's package, an optional extra."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pyarrow as pa

from rllib_tactical.data.io.streams import Bytes
from rllib_tactical.data.io.tables import ArrowTable
from rllib_tactical.errors import UnreadableError, UsageError

_SCHEMAS: Final = ("ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "trades")


def dbn_table(source: Bytes, block_rows: int) -> ArrowTable:
    """Return the records of a DBN file, with times, prices as numbers and the mapped symbols.

    Records without a mapping have their ``instrument_id`` as the symbol.

    Raises:
        UsageError: the package is not installed; names the extra.
        UnreadableError: the content is damaged, or records of another schema than bars and trades.
    """
    try:
        import databento
        from databento.common.error import BentoWarning
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{source.path}: DBN files need the extra 'databento' ({error.name} is not installed): "
            "pip install 'rllib-tactical[databento]'"
        ) from error
    try:
        with ExitStack() as stack:
            # From memory: the package leaves the files that it opens to the garbage collector.
            store: Any = databento.DBNStore.from_bytes(source.open(stack).read())
    except Exception as error:  # the package raises errors without a common base
        raise source.damaged(error) from error
    schema = None if store.schema is None else str(store.schema)
    if schema not in _SCHEMAS:
        raise UnreadableError(
            f"{source.path}: holds records of schema {schema or 'mixed'}, expected "
            f"{', '.join(_SCHEMAS)}"
        )

    def batches(wanted: list[str] | None, length: int) -> Iterator[Any]:
        frames: Any = None
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # A cut file ends with this warning, and its last record is lost.
                warnings.simplefilter("error", BentoWarning)
                try:
                    frames = iter(store.to_df(count=length)) if frames is None else frames
                    frame = next(frames, None)
                except Exception as error:
                    raise source.damaged(error) from error
            if frame is None:
                return
            frame = frame.reset_index()
            frame["symbol"] = frame["symbol"].fillna(frame["instrument_id"].astype(str))
            batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
            yield batch if wanted is None else batch.select(wanted)

    names = tuple(next(batches(None, 1)).schema.names)
    return ArrowTable(names, 0, block_rows, batches)

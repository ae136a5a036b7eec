"""Read the columns of an open file as its layout says."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from rllib_tactical.data.io.columns import Columns, ColumnsBuilder
from rllib_tactical.data.io.layout import Layout
from rllib_tactical.data.io.scan import NotNumbersError, Scan, UnevenError


def columns_of(scan: Scan, layout: Layout, share: Callable[[float], None]) -> Columns:
    """Return the columns of an open file as its layout says, in memory bounded by its rows.

    The file is read in blocks, so its text is never in memory as a whole; the block size has no
    influence on the result.

    Args:
        scan: the open file.
        layout: where its columns are and how they are written.
        share: is told the share of the file that has been read.

    Raises:
        UnreadableError: the content is damaged.
        UsageError: times given as numbers have more than one unit.
    """
    try:
        builder = _built(layout, scan, share, as_numbers=True)
    except NotNumbersError:
        builder = _built(layout, scan, share, as_numbers=False)
    # Arrow keeps the blocks it has freed; what follows allocates elsewhere.
    pa.default_memory_pool().release_unused()
    return builder.build(scan.long_rows)


def _built(
    layout: Layout, scan: Scan, share: Callable[[float], None], *, as_numbers: bool
) -> ColumnsBuilder:
    """Take a file piece by piece; ``as_numbers`` parses text as it is split, where it can be."""
    builder = ColumnsBuilder(layout)
    try:
        for piece in scan.pieces(
            builder.positions, share, builder.number_positions if as_numbers else ()
        ):
            builder.add(piece)
    except UnevenError:
        builder = ColumnsBuilder(layout)
        for piece in scan.uneven_pieces(builder.positions, share):
            builder.add(piece)
    return builder

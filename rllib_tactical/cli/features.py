"""The ``tactical features`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rllib_tactical.cli.options import read_options

if TYPE_CHECKING:
    from rllib_tactical.data.interpret.options import ReadOptions


@click.command("features")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--bar", default="5min", show_default=True, help="Bar length.")
@click.option(
    "--instrument", metavar="NAME", help="Shipped name or YAML file; else the file's name."
)
@read_options
def features_command(
    file: Path, out: Path, bar: str, instrument: str | None, reading: ReadOptions
) -> None:
    """Write timestamp, the seven raw features by name, atr_14 and close of every bar.

    Row t holds what is known at the close of bar t. The file type follows the suffix of --out.
    """
    import pyarrow as pa

    from rllib_tactical.cli.data_output import require_output
    from rllib_tactical.data.calendar.bar_length import parse_bar_length
    from rllib_tactical.data.dataset import load_bars
    from rllib_tactical.data.files import write_table
    from rllib_tactical.data.instruments import instrument_named
    from rllib_tactical.domain.features.table import compute_features
    from rllib_tactical.domain.types import FEATURE_NAMES

    require_output(out, file)
    market = instrument_named(instrument, file)
    found = load_bars(file, parse_bar_length(bar), options=reading, instrument=market)
    click.echo(found.interpretation.line(file.name), err=True)
    bars = found.bars
    table = compute_features(bars)
    columns = {"timestamp": pa.array(bars.timestamp_s, pa.timestamp("s", tz="UTC"))}
    columns |= {name: pa.array(table.raw[:, i]) for i, name in enumerate(FEATURE_NAMES)}
    columns |= {"atr_14": pa.array(table.atr), "close": pa.array(table.close)}
    write_table(pa.table(columns), out)
    click.echo(f"{len(bars):,} rows written to {out}")

"""The commands ``data list`` and ``data formats``: what files hold, and what sources are known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from rllib_tactical.cli.data_output import json_text
from rllib_tactical.cli.options import read_options
from rllib_tactical.cli.tables import print_table
from rllib_tactical.data.interpret.formats import FORMATS
from rllib_tactical.data.interpret.listing import list_folder
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.runtime.progress import show_progress

_NAMES = ("file", "state", "format", "symbol", "instrument", "rows", "first", "last", "bar")


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--instrument",
    metavar="NAME",
    help="Instrument of all files; by default each file's name tells.",
)
@click.option("--below", is_flag=True, help="List the folders in FOLDER, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def list_command(
    folder: Path, instrument: str | None, below: bool, as_json: bool, reading: ReadOptions
) -> int:
    """List what each file in FOLDER holds: format, symbol, bars, span, length, assumptions.

    A file that cannot be read, or only when more is said, is listed with the reason.
    """
    with show_progress() as update:
        listed = list_folder(folder, reading, instrument, below=below, update=update)
    if as_json:
        click.echo(json_text([each.to_dict() for each in listed]))
        return 0
    table = Table()
    for name in _NAMES:
        table.add_column(name, no_wrap=True, justify="right" if name == "rows" else "left")
    table.add_column("notes", min_width=40)
    for each in listed:
        cells = (each.file, each.state, each.format, each.symbol, each.instrument)
        rows = "" if each.rows is None else f"{each.rows:,}"
        ends = (each.first, each.last, each.bar, "; ".join(each.notes))
        table.add_row(
            *(escape(cell or "") for cell in cells), rows, *(escape(e or "") for e in ends)
        )
    if listed:
        print_table(table)
    states = Counter(each.state for each in listed)
    said = ", ".join(f"{count:,} {state}" for state, count in states.items())
    click.echo(f"{folder}: {said or 'no files'}")
    return 0


@click.command("formats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def formats_command(as_json: bool) -> int:
    """List the sources whose files are known: zone, stamp and whether they are recognized."""
    rows = [entry.describe() for entry in FORMATS.values()]
    if as_json:
        click.echo(json_text(rows))
        return 0
    table = Table()
    for name in rows[0]:
        table.add_column(name, no_wrap=name in ("format", "stamp"), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row.values()))
    print_table(table)
    return 0

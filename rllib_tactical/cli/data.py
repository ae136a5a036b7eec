"""The commands ``data check`` and ``data import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from rllib_tactical.cli.data_output import json_text, print_report, require_output, write_text
from rllib_tactical.cli.options import read_options
from rllib_tactical.data.calendar.bar_length import bar_label, parse_bar_length
from rllib_tactical.data.files import write_bars, write_table
from rllib_tactical.data.instruments import instrument_named
from rllib_tactical.data.interpret.interpretation import INTERPRETATION, interpretation_of
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality.findings import MAX_PER_RULE, iso_time
from rllib_tactical.data.quality.repair import Change, repair_columns
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns
from rllib_tactical.data.resample import import_columns
from rllib_tactical.errors import DataError
from rllib_tactical.runtime.progress import show_progress

data_group = click.Group("data", help="List, check, repair and resample files of bars.")


@data_group.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--instrument",
    metavar="NAME",
    help="Instrument whose session calendar to use; by default the one the file is named for.",
)
@click.option("--bar", default="5min", show_default=True, help="Length of a bar.")
@read_options
@click.option(
    "--limit",
    default=MAX_PER_RULE,
    show_default=True,
    type=click.IntRange(min=10),
    help="List so many findings per rule; all are counted.",
)
@click.option(
    "--repair", type=click.Path(path_type=Path), metavar="OUT", help="Write a repaired copy."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check_command(
    ctx: click.Context,
    file: Path,
    instrument: str | None,
    bar: str,
    limit: int,
    repair: Path | None,
    as_json: bool,
    reading: ReadOptions,
) -> None:
    """Report every finding about the bars in FILE.

    Rows are counted from 0, the header and blank lines not included. With --repair, OUT gets a
    repaired copy and OUT.changes.json the list of what was changed. The exit code is 0 when there
    are no errors, 1 with errors in FILE (repaired or not), 2 when FILE cannot be read.
    """
    bar_seconds = parse_bar_length(bar)
    market = instrument_named(instrument, file)
    if repair is not None:
        require_output(repair, file)
    with show_progress() as update:
        series = read_series(file, reading, market, update=update)
        columns = series.columns
        update(f"checking {file.name}", 1.0)
        report = check_columns(
            columns, bar_seconds=bar_seconds, instrument=market, max_per_rule=limit
        )
    symbol = None if market is None else market.symbol
    document: dict[str, Any] = {"file": str(file), "instrument": symbol, **report.to_dict()}
    stated = None
    if not report.errors:
        bars = bars_from_columns(columns)
        stated = interpretation_of(series, reading, bars, report, market, bar_seconds)
        document[INTERPRETATION] = stated.to_dict()
    changes: list[Change] | None = None
    if repair is not None:
        try:
            repaired, changes = repair_columns(columns, bar_seconds=bar_seconds, instrument=market)
        except DataError as error:
            # The findings still explain why.
            document["repair"] = {"error": str(error)}
        else:
            write_table(pa.Table.from_pandas(repaired, preserve_index=False), repair)
            listed = [asdict(change) for change in changes]
            write_text(repair.with_name(f"{repair.name}.changes.json"), json_text(listed))
            document["repair"] = {"out": str(repair), "rows": len(repaired), "changes": listed}
    if as_json:
        click.echo(json_text(document))
    else:
        print_report(file, report, repair, changes)
        if stated is not None:
            click.echo(stated.line(file.name))
        if market is None:
            click.echo("Sessions: never closed; --instrument names another calendar.")
        else:
            origin = "" if instrument is not None else ", inferred from the file name"
            click.echo(f"Sessions: {market.calendar}, the calendar of {market.symbol}{origin}.")
    if report.errors:
        ctx.exit(1)


@data_group.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--bar", default="5min", show_default=True, help="Length of the new bars.")
@click.option(
    "--instrument",
    metavar="NAME",
    help="Shipped name or YAML file; by default the one the file is named for.",
)
@click.option(
    "--min-share",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Drop bars made of a smaller share of the rows that they have room for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def import_command(
    file: Path,
    out: Path,
    bar: str,
    instrument: str | None,
    min_share: float,
    as_json: bool,
    reading: ReadOptions,
) -> None:
    """Resample finer bars, or ticks with timestamp, price and size, to complete bars.

    No bar is invented for an empty slot; partial slots at both ends are dropped. Bars between that
    are made of fewer rows than they have room for are counted.
    """
    bar_seconds = parse_bar_length(bar)
    require_output(out, file)
    market = instrument_named(instrument, file)
    with show_progress() as update:
        series = read_series(file, reading, market, ticks=True, update=update)
        update(f"resampling {file.name}", 1.0)
        imported = import_columns(
            series.columns, bar_seconds=bar_seconds, instrument=market, min_share=min_share
        )
        write_bars(imported.bars, out)
    notes = (imported.partial_text,) if imported.partial else ()
    stated = interpretation_of(
        series, reading, imported.bars, imported.report, market, bar_seconds, notes
    )
    time_s = imported.bars.timestamp_s
    document = {
        "file": str(file),
        "out": str(out),
        "source": imported.source,
        "source_seconds": imported.source_seconds,
        "bar_seconds": bar_seconds,
        "rows_in": imported.rows,
        "rows_out": len(imported.bars),
        "first": iso_time(int(time_s[0]) * MICROS),
        "last": iso_time(int(time_s[-1]) * MICROS),
        "first_slot_dropped": imported.first_dropped,
        "last_slot_dropped": imported.last_dropped,
        "rows_per_bar": imported.rows_per_bar,
        "partial_bars": imported.partial,
        "partial_bars_dropped": imported.partial_dropped,
        INTERPRETATION: stated.to_dict(),
    }
    if as_json:
        click.echo(json_text(document))
        return
    length = "ticks" if imported.source_seconds is None else bar_label(imported.source_seconds)
    ends = [
        name
        for name, gone in (("first", imported.first_dropped), ("last", imported.last_dropped))
        if gone
    ]
    click.echo(
        f"{out}: {len(imported.bars)} bars of {bar_label(bar_seconds)} from {imported.rows} rows "
        f"({length}), {document['first']} to {document['last']}"
    )
    click.echo(stated.line(file.name))
    if imported.partial:
        click.echo(f"{imported.partial_text}.")
    if ends:
        click.echo(f"Dropped the partial {' and '.join(ends)} slot.")

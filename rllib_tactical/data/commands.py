"""The commands ``data check`` and ``data import``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rllib_tactical.atomic import atomic_write_text
from rllib_tactical.data.check import check_columns
from rllib_tactical.data.files import output_kind, read_columns, write_bars, write_table
from rllib_tactical.data.findings import MAX_PER_RULE, CheckReport, iso_time
from rllib_tactical.data.grid import bar_label, parse_bar_length
from rllib_tactical.data.instruments import load_instrument, symbol_told_by
from rllib_tactical.data.parse import MICROS
from rllib_tactical.data.repair import Change, repair_columns
from rllib_tactical.data.resample import import_columns, source_columns
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.progress import show_progress

_SHOWN_PER_RULE = 8

data_group = click.Group("data", help="Check, repair and resample files of bars.")


@data_group.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--instrument",
    metavar="NAME",
    help="Instrument whose session calendar to use; by default the one the file is named for.",
)
@click.option("--bar", default="5min", show_default=True, help="Length of a bar.")
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
) -> None:
    """Report every finding about the bars in FILE.

    Rows are counted from 0, the header and blank lines not included. With --repair, OUT gets a
    repaired copy and OUT.changes.json the list of what was changed. The exit code is 0 when there
    are no errors, 1 with errors in FILE (repaired or not), 2 when FILE cannot be read.
    """
    bar_seconds = parse_bar_length(bar)
    name = instrument if instrument is not None else symbol_told_by(file)
    market = load_instrument(name) if name is not None else None
    if repair is not None:
        require_output(repair, file)
    with show_progress() as update:
        columns = read_columns(file, update=update)
        update(f"checking {file.name}", 1.0)
        report = check_columns(
            columns, bar_seconds=bar_seconds, instrument=market, max_per_rule=limit
        )
    symbol = None if market is None else market.symbol
    document: dict[str, Any] = {"file": str(file), "instrument": symbol, **report.to_dict()}
    changes: list[Change] | None = None
    if repair is not None:
        try:
            repaired, changes = repair_columns(columns, bar_seconds=bar_seconds)
        except DataError as error:
            # The findings are still worth showing; they say why.
            document["repair"] = {"error": str(error)}
        else:
            write_table(pa.Table.from_pandas(repaired, preserve_index=False), repair)
            listed = [asdict(change) for change in changes]
            _write_text(repair.with_name(f"{repair.name}.changes.json"), _json(listed))
            document["repair"] = {"out": str(repair), "rows": len(repaired), "changes": listed}
    if as_json:
        click.echo(_json(document))
    else:
        print_report(file, report, repair, changes)
        if market is None:
            click.echo("Sessions: never closed; --instrument names another calendar.")
        else:
            origin = "" if instrument is not None else ", as the file's name tells"
            click.echo(f"Sessions: {market.calendar}, the calendar of {market.symbol}{origin}.")
    if report.errors:
        ctx.exit(1)


@data_group.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--bar", default="5min", show_default=True, help="Length of the new bars.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_command(file: Path, out: Path, bar: str, as_json: bool) -> None:
    """Resample finer bars, or ticks with timestamp, price and size, to complete bars.

    No bar is invented for an empty slot; partial slots at both ends are dropped.
    """
    bar_seconds = parse_bar_length(bar)
    require_output(out, file)
    with show_progress() as update:
        columns = read_columns(file, source_columns, update=update)
        update(f"resampling {file.name}", 1.0)
        imported = import_columns(columns, bar_seconds=bar_seconds)
        write_bars(imported.bars, out)
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
    }
    if as_json:
        click.echo(_json(document))
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
    if ends:
        click.echo(f"Dropped the partial {' and '.join(ends)} slot.")


def require_output(out: Path, source: Path | None = None) -> None:
    """Refuse an output that cannot be written before any work is done."""
    output_kind(out)
    if not out.parent.is_dir():
        raise UsageError(f"output file {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise UsageError(f"output file {out}: is a folder")
    if source is not None and out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"output file {out}: is the input file, which is never changed")


def _write_text(path: Path, text: str) -> None:
    try:
        atomic_write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def print_report(
    file: Path,
    report: CheckReport,
    repair: Path | None = None,
    changes: list[Change] | None = None,
) -> None:
    """Print findings as tables, with what a repair did if there was one."""
    console = Console()
    if report.findings:
        console.print(_finding_table(report))
    if max(report.counts.values(), default=0) > _SHOWN_PER_RULE:
        console.print(
            f"The table shows {_SHOWN_PER_RULE} findings of each rule at most; --json lists "
            "more, see --limit."
        )
    if report.counts:
        counts = Table("rule", "count", title="Findings by rule")
        for rule, count in report.counts.items():
            counts.add_row(rule, f"{count:,}")
        console.print(counts)
    console.print(
        f"{escape(str(file))}: {report.rows:,} rows, {report.errors:,} errors, "
        f"{report.warnings:,} warnings"
    )
    if changes is not None:
        console.print(
            f"Repaired copy: {escape(str(repair))}, {len(changes):,} changes, listed in "
            f"{escape(str(repair))}.changes.json"
        )
    elif repair is not None:
        console.print("Nothing was written: the file cannot be repaired.")


def _finding_table(report: CheckReport) -> Table:
    table = Table()
    for name in ("row", "timestamp", "severity", "rule"):
        table.add_column(name, no_wrap=True)
    table.add_column("finding")
    shown: Counter[str] = Counter()
    for finding in report.findings:
        shown[finding.rule] += 1
        if shown[finding.rule] > _SHOWN_PER_RULE:
            continue
        table.add_row(
            "" if finding.row is None else str(finding.row),
            finding.timestamp or "",
            finding.severity,
            finding.rule,
            escape(finding.message),
        )
    return table


def _json(document: object) -> str:
    return json.dumps(document, indent=2)

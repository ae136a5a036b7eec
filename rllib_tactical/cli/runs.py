"""The ``tactical runs`` commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.output_folder import require_output_file
from rllib_tactical.catalog.comparison import (
    differences,
    metric_cells,
    names_of,
    render_comparison,
    setting_text,
)
from rllib_tactical.catalog.records import METRICS, Record, find_records, read_record
from rllib_tactical.cli.tables import print_table
from rllib_tactical.errors import UsageError

_DIR = click.Path(path_type=Path)


@click.group("runs")
def runs_group() -> None:
    """List and compare runs, sweeps, backtests and walk-forward evaluations."""


@runs_group.command("list")
@click.argument("folders", nargs=-1, type=_DIR, metavar="[FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(folders: tuple[Path, ...], as_json: bool) -> int:
    """List what lies in and below FOLDERs, oldest first; the current folder when left out."""
    records = find_records(folders or (Path(),), _skipped)
    if as_json:
        click.echo(json.dumps([record.to_dict() for record in records], indent=2))
        return 0
    if not records:
        click.echo("no run, sweep, backtest or walk-forward evaluation found")
        return 0
    _print_results(records, [str(record.path) for record in records])
    return 0


@runs_group.command("compare")
@click.argument("folders", nargs=-1, type=_DIR, metavar="FOLDER FOLDER...")
@click.option("--out", type=_DIR, metavar="FILE", help="HTML file to write, with equity curves.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(folders: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    """Show what differs in the settings of FOLDERs, then their results side by side.

    Each FOLDER is that of a run, a sweep, a backtest or a walk-forward evaluation, or one whose
    whole content is compared.
    """
    if out is not None:
        require_output_file(out)
    records = [record for folder in folders for record in _records_of(folder)]
    if len(records) < 2:
        raise UsageError(f"compare needs at least 2 results, found {len(records)}")
    differing = differences(records)
    if out is not None:
        atomic_write_text(out, render_comparison(records))
    if as_json:
        plain = {"records": [record.to_dict() for record in records], "differences": differing}
        click.echo(json.dumps(plain, indent=2))
        return 0
    names = names_of(records)
    table = Table(title="Settings that differ")
    table.add_column("setting")
    for name in names:
        table.add_column(escape(name), justify="right")
    for key, values in differing.items():
        table.add_row(escape(key), *(escape(setting_text(value)) for value in values))
    if differing:
        print_table(table)
    else:
        click.echo("All were made with the same settings.")
    _print_results(records, names)
    if out is not None:
        click.echo(f"Report: {out}")
    return 0


def _records_of(folder: Path) -> list[Record]:
    try:
        return [read_record(folder)]
    except UsageError:
        return find_records([folder], _skipped)


def _print_results(records: Sequence[Record], names: Sequence[str]) -> None:
    table = Table(title="Results, net of costs")
    for column in ("name", "kind", "instruments", "written, UTC", "state"):
        table.add_column(column)
    for label in METRICS.values():
        table.add_column(label.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, record in zip(names, records, strict=True):
        cells = (name, record.kind, record.symbols, f"{record.written:%Y-%m-%d %H:%M}")
        table.add_row(*map(escape, cells), escape(record.state), *metric_cells(record))
    print_table(table)


def _skipped(text: str) -> None:
    click.echo(text, err=True)

"""The ``tactical instruments`` commands."""

from __future__ import annotations

import json

import click
from rich.table import Table

from rllib_tactical.cli.tables import print_table
from rllib_tactical.config.loader import to_dict
from rllib_tactical.data.instrument_fields import instrument_yaml
from rllib_tactical.data.instruments import list_instruments, load_instrument
from rllib_tactical.errors import ConfigError

_SHOWN = ("tick_size", "point_value", "lot_step", "commission_per_lot", "calendar", "timezone")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("instruments")
def instruments_group() -> None:
    """List, show and check instruments: what is traded and what trading it costs."""


@instruments_group.command("list")
@_JSON
def list_command(as_json: bool) -> int:
    """List the shipped instruments."""
    shipped = [load_instrument(name) for name in list_instruments()]
    if as_json:
        click.echo(json.dumps([to_dict(each) for each in shipped], indent=2))
        return 0
    table = Table("symbol", *(name.replace("_", " ") for name in _SHOWN))
    for each in shipped:
        table.add_row(each.symbol, *(str(getattr(each, name)) for name in _SHOWN))
    print_table(table)
    return 0


@instruments_group.command("show")
@click.argument("name", metavar="NAME|FILE")
@_JSON
def show_command(name: str, as_json: bool) -> int:
    """Print an instrument as YAML to start from: every field with what it means."""
    instrument = load_instrument(name)
    if as_json:
        click.echo(json.dumps(to_dict(instrument), indent=2))
    else:
        click.echo(instrument_yaml(instrument), nl=False)
    return 0


@instruments_group.command("check")
@click.argument("file", metavar="FILE")
@_JSON
def check_command(file: str, as_json: bool) -> int:
    """Check an instrument's YAML file; exit code 1 when a field is wrong, 2 when unreadable."""
    try:
        instrument = load_instrument(file)
    except ConfigError as error:
        if not as_json:
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(json.dumps({"ok": False, "error": str(error)}, indent=2))
        return 1
    if as_json:
        click.echo(json.dumps({"ok": True, "instrument": to_dict(instrument)}, indent=2))
    else:
        click.echo(f"{file}: {instrument.symbol} is a valid instrument")
    return 0

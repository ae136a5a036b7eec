"""Options that several commands share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rllib_tactical.data.synergy_events import DETECT

FILE = click.Path(path_type=Path)

MLFLOW = click.option("--mlflow", metavar="URI", help="Also log to this MLflow tracking URI.")

BUNDLE_FOLDERS = click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=FILE,
    help="Folder of a bundle that is neither where it was nor among the state's copies.",
)


class FolderType(click.ParamType[Any]):
    """Type of an option that takes a path (gives a ``Path``) or a URI (gives a ``str``)."""

    name = "folder"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        """Keep a URI as it is: a path would lose one of its slashes."""
        return value if isinstance(value, Path) or "://" in value else Path(value)


def read_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how files of bars are to be read; the command gets ``reading``."""

    @functools.wraps(command)
    def with_reading(*args: Any, **values: Any) -> Any:
        # pandas takes a second to import: not before a command runs
        from rllib_tactical.data.interpret.options import ReadOptions

        given = {field.name: values.pop(field.name) for field in dataclasses.fields(ReadOptions)}
        return command(*args, reading=ReadOptions(**given), **values)

    for option in reversed(_READ_OPTIONS):
        with_reading = option(with_reading)
    return with_reading


_READ_OPTIONS = (
    click.option(
        "--format", metavar="NAME", help="Source of the file; see `tactical data formats`."
    ),
    click.option(
        "--columns",
        metavar="NAMES",
        help="open=O,timestamp=t maps names of the header; timestamp,open,... names the columns of "
        "a file without header; volume=none says that there is no volume.",
    ),
    click.option("--tz", metavar="ZONE", help="Zone of times that name none, America/New_York."),
    click.option(
        "--stamp",
        type=click.Choice(["open", "close"]),
        help="Whether times are those at which bars open or close.  [default: open]",
    ),
    click.option("--symbol", metavar="NAME", help="The symbol to take from a file of several."),
    click.option(
        "--session",
        type=click.Choice(["regular"]),
        help="Drop bars outside of the calendar's sessions.",
    ),
    click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign of the numbers."),
    click.option("--price-scale", type=float, metavar="X", help="Multiply prices by X."),
    click.option(
        "--day-first/--month-first",
        default=None,
        help="Order of the numbers in dates such as 03/04/2024.",
    ),
)


def training_data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --instrument, --synergies and ``read_options`` to a command that trains."""
    command = read_options(command)
    for option in (
        click.option(
            "--synergies",
            default=DETECT,
            show_default=True,
            help="detect them on the bars, none, or a file of events (a JSON object per line).",
        ),
        click.option(
            "--instrument",
            multiple=True,
            help="Shipped name or YAML file, one per --data; else inferred from the file name.",
        ),
        click.option(
            "--data",
            required=True,
            multiple=True,
            type=FILE,
            help="File of bars, or folder or quoted pattern of the files of one instrument; "
            "several for several instruments.",
        ),
    ):
        command = option(command)
    return command

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rllib_tactical.data.synergy_events import DETECT

FILE = click.Path(path_type=Path)


class FolderType(click.ParamType[Any]):
    """Type of an option that takes a path (gives a ``Path``) or a URI (gives a ``str``)."""

    name = "folder"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        """Keep a URI as it is: a path would lose one of its slashes."""
        return value if isinstance(value, Path) or "://" in value else Path(value)


def training_data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --instrument and --synergies of the commands that train."""
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
            help="File of bars; several for several instruments.",
        ),
    ):
        command = option(command)
    return command

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.synergy_events import DETECT, NONE
from rllib_tactical.errors import UsageError
from rllib_tactical.rl.training.market import DataSource

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


def training_sources(
    data: tuple[Path, ...], instrument: tuple[str, ...], synergies: str
) -> list[DataSource]:
    """Return what ``training_data_options`` name: a file, its instrument, its synergies.

    Raises:
        UsageError: --instrument is not given once per file, or one file of events is given for
            several files of bars.
        ConfigError: unknown instrument.
    """
    if instrument and len(instrument) != len(data):
        raise UsageError(
            f"give one --instrument per --data or none, found {len(instrument)} and {len(data)}"
        )
    if len(data) > 1 and synergies not in (DETECT, NONE):
        raise UsageError("--synergies FILE goes with one --data, because events name no symbol")
    names: tuple[str | None, ...] = instrument or (None,) * len(data)
    return [
        DataSource(path, instrument_for(name, path), synergies)
        for path, name in zip(data, names, strict=True)
    ]

"""The commands ``state show``, ``verify``, ``restore`` and ``archive``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rllib_tactical.cli.options import BUNDLE_FOLDERS
from rllib_tactical.errors import ServiceError
from serve.journal.verification import has_journal, verify_journal
from serve.state.history import LIVE_RECORDS
from serve.state.inspection import (
    archive_state,
    find_state,
    restore_state,
    show_state,
    verify_state,
)

_STATE = click.option(
    "--state",
    default="service-state",
    show_default=True,
    metavar="DIR|URL",
    help="State: its folder, the folder around it, or redis://HOST:PORT/DB#SYMBOL.",
)
_SYMBOL = click.option("--symbol", metavar="NAME", help="Which symbol, where there are several.")


@click.group("state")
def state_group() -> None:
    """Show, verify, restore and archive the state of the decision service."""


@state_group.command("show")
@_STATE
@_SYMBOL
def show_command(state: str, symbol: str | None) -> None:
    """Print what the state is now. A service may be running."""
    found = asdict(show_state(find_state(state, symbol), symbol))
    symbols = found.pop("symbols")
    if len(symbols) < 2:  # then the sum says nothing new
        del found["total_equity"], found["total_halted"]
    _print(found)
    for each in symbols:
        if len(symbols) > 1:
            click.echo()
        _print(each)


def _print(values: dict[str, Any]) -> None:
    for name, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        click.echo(f"{name:<15} {'-' if shown in (None, '') else shown}")


@state_group.command("verify")
@_STATE
@_SYMBOL
@BUNDLE_FOLDERS
def verify_command(state: str, symbol: str | None, bundles: tuple[Path, ...]) -> None:
    """Check every record, the archive and the head, of the state and of its journal of decisions.

    Of the journal also whether each decision can be read, and whether its bundle is there. A
    service may be running. Exit code 1 when something is wrong.
    """
    name = find_state(state, symbol)
    image, found = verify_state(name)
    if found is not None:
        raise ServiceError(f"{found.problem}; everything is whole up to record {found.whole}")
    click.echo(f"{image.head.sequence} records are whole, {image.head.archived} of them archived")
    if not has_journal(name):
        return
    journal = verify_journal(name, bundles)
    for problem in journal.problems:
        click.echo(f"journal: {problem}")
    if journal.problems:
        raise click.exceptions.Exit(1)
    click.echo(
        f"journal: {journal.decisions} decisions of {journal.bundles} bundles are whole, "
        f"{journal.archived} of them archived"
    )


@state_group.command("restore")
@_STATE
@_SYMBOL
@click.option("--from", "copy", metavar="DIR|URL", help="Take this copy instead.")
@click.option("--yes", is_flag=True, help="Do it; otherwise only say what would be done.")
def restore_command(state: str, symbol: str | None, copy: str | None, yes: bool) -> None:
    """Keep what is whole of a damaged state, or take a copy. Stop the service first.

    The damaged state is kept beside the new one. Records that are lost were answered: compare
    position and orders with the broker's before you start the service.
    """
    name = find_state(state, symbol)
    done = restore_state(name, None if copy is None else find_state(copy, symbol), write=yes)
    if done.found is None and copy is None:
        click.echo(f"{done.before} records are whole: there is nothing to restore")
        return
    if done.found is not None:
        click.echo(f"found: {done.found.problem}")
    click.echo(f"{done.records} records {'are' if yes else 'would be'} kept")
    click.echo(f"the old state is in {done.kept}" if yes else "do it with --yes")


@state_group.command("archive")
@_STATE
@_SYMBOL
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=LIVE_RECORDS,
    show_default=True,
    help="Records that stay outside.",
)
def archive_command(state: str, symbol: str | None, keep: int) -> None:
    """Move old records to the compressed archive in the same store. A service may be running."""
    click.echo(f"{archive_state(find_state(state, symbol), keep)} records archived")

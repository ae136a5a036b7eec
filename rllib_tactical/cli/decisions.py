"""The commands ``decisions``, ``replay`` and ``explain``: the journal of the decision service."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from rllib_tactical.cli.options import BUNDLE_FOLDERS, FILE
from rllib_tactical.errors import UsageError
from serve.journal.explain import Explanation, explain
from serve.journal.reading import (
    epoch_s,
    find_journal,
    line_of,
    read_decisions,
    row_of,
    write_parquet,
)
from serve.journal.replay import replay

_STATE = click.option(
    "--state",
    default="service-state",
    show_default=True,
    metavar="DIR|URL",
    help="State of one symbol: its folder, the folder around it, or redis://HOST:PORT/DB#SYMBOL.",
)
_SYMBOL = click.option("--symbol", metavar="NAME", help="Which symbol, where there are several.")
_FROM = click.option(
    "--from", "first", metavar="TIME", help="First date or time, ISO-8601; UTC without a zone."
)
_TO = click.option("--to", "last", metavar="TIME", help="Date or time before which to end.")


def _span(first: str | None, last: str | None) -> tuple[float | None, float | None]:
    return (
        None if first is None else epoch_s(first, "--from"),
        None if last is None else epoch_s(last, "--to"),
    )


@click.command("decisions")
@_STATE
@_SYMBOL
@_FROM
@_TO
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with all inputs.")
@click.option("--parquet", type=FILE, metavar="OUT", help="Write a Parquet file instead.")
def decisions_command(
    state: str,
    symbol: str | None,
    first: str | None,
    last: str | None,
    as_json: bool,
    parquet: Path | None,
) -> None:
    """List the decisions that the service has answered. A service may be running."""
    if as_json and parquet is not None:
        raise UsageError("--json and --parquet must not be given together, found both")
    records = read_decisions(find_journal(state, symbol), *_span(first, last), symbol)
    if parquet is not None:
        click.echo(f"{write_parquet(records, parquet)} decisions in {parquet}")
        return
    for record in records:
        text = msgspec.json.encode(row_of(record)).decode() if as_json else line_of(record)
        click.echo(text)


@click.command("replay")
@_STATE
@_SYMBOL
@_FROM
@_TO
@BUNDLE_FOLDERS
def replay_command(
    state: str,
    symbol: str | None,
    first: str | None,
    last: str | None,
    bundles: tuple[Path, ...],
) -> None:
    """Recompute decisions with the bundles and inputs of then; they must be equal bit for bit.

    Exit code 1 when one differs.
    """
    found = replay(find_journal(state, symbol), *_span(first, last), symbol, bundles)
    if found.first is None:
        click.echo(f"{found.decisions} decisions are equal, bit for bit")
        return
    click.echo(f"{found.differ} of {found.decisions} decisions differ; the first: {found.first}")
    raise click.exceptions.Exit(1)


def _draw(found: Explanation, picture: Path) -> None:
    """Write the picture; its packages are not those of the service.

    Raises:
        UsageError: they are not installed, or the file cannot be written.
    """
    try:
        from serve.journal.picture import write_picture

        write_picture(found, picture)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--picture needs the extra 'report' ({error.name} is not installed): "
            "pip install 'rllib-tactical[report]'"
        ) from error


@click.command("explain")
@click.argument("decision_id")
@_STATE
@_SYMBOL
@BUNDLE_FOLDERS
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every bar.")
@click.option("--picture", type=FILE, metavar="OUT", help="Draw it as an HTML page, too.")
def explain_command(
    decision_id: str,
    state: str,
    symbol: str | None,
    bundles: tuple[Path, ...],
    as_json: bool,
    picture: Path | None,
) -> None:
    """Say which bars and features mattered to a decision, and what other votes would have done.

    DECISION_ID may be the beginning of the id. Each bar and each feature of the window is replaced
    by the window's average; the agents then vote again.
    """
    found = explain(find_journal(state, symbol), decision_id, bundles)
    if picture is not None:
        _draw(found, picture)
    click.echo(msgspec.json.encode(found.plain()).decode() if as_json else found.text())

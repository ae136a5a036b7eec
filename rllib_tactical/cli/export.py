"""The ``tactical export`` command."""

from __future__ import annotations

from pathlib import Path

import click

from rllib_tactical.artifacts.storage import place_of, working_folder
from rllib_tactical.bundle.export import export_run
from rllib_tactical.cli.options import FolderType
from rllib_tactical.errors import UsageError


@click.command("export")
@click.argument("source", metavar="RUN_OR_CHECKPOINT", type=FolderType())
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Bundle folder to make."
)
@click.option("--instrument", metavar="SYMBOL", help="Which one, when the run had several.")
@click.option(
    "--trial", type=click.IntRange(min=0), help="Of a sweep: this trial instead of the best."
)
@click.option(
    "--parent",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="The bundle that this one follows: verified, and recorded by its id.",
)
def export_command(
    source: Path | str, out: Path, instrument: str | None, trial: int | None, parent: Path | None
) -> None:
    """Make a policy bundle that backtest and service load.

    Of a run, the checkpoint with the best validation P&L by the serving rule is taken; of the
    folder of a sweep, its best trial. Either may be at a URI.
    """
    from rllib_tactical.sweep.best import export_trial
    from rllib_tactical.sweep.folder import SWEEP

    place = place_of(source)
    if place.has(SWEEP):
        bundle, number = export_trial(place, out, instrument, trial, parent)
        click.echo(f"bundle {bundle.bundle_id} of trial {number} in {out}")
        return
    if trial is not None:
        raise UsageError(f"--trial goes with the folder of a sweep, {source} is none")
    with working_folder(source, resume=True) as folder:
        bundle = export_run(folder, out, instrument, parent)
    click.echo(f"bundle {bundle.bundle_id} in {out}")

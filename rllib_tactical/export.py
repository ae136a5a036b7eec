"""Make a policy bundle from a training run or one of its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rllib_tactical.bundle import Bundle, export_bundle
from rllib_tactical.config import TacticalConfig, from_dict
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import UnreadableError
from rllib_tactical.rl.run_folder import (
    CHECKPOINT,
    RunFolder,
    read_checkpoint,
    read_weights,
)


def export_run(source: Path, out: Path) -> Bundle:
    """Export a run's best checkpoint by validation P&L, or the checkpoint that ``source`` is.

    Raises:
        UnreadableError: neither a run nor a checkpoint, or no checkpoint yet.
        BundleError: ``out`` holds something else, or the weights do not fit.
    """
    if (source / CHECKPOINT).is_file():
        checkpoint, folder = source, RunFolder(source.resolve().parents[1])
    else:
        folder = RunFolder(source)
        folder.read()
        newest = folder.checkpoints()[-1:]
        checkpoint = folder.best() or (newest[0] if newest else source)
    run = folder.read()
    if not (checkpoint / CHECKPOINT).is_file():
        raise UnreadableError(f"{source}: the run has no checkpoint yet")
    state = read_checkpoint(checkpoint)
    validation: dict[str, Any] | None = state.get("validation")
    config = from_dict(TacticalConfig, run["config"], f"{folder.path}: config")
    return export_bundle(
        out,
        weights=read_weights(checkpoint),
        rules=config.rules,
        instrument=from_dict(Instrument, run["instrument"], f"{folder.path}: instrument"),
        bar_seconds=int(run["data"]["bar_seconds"]),
        temperature_scale=float(validation["temperature_scale"]) if validation else 1.0,
        training={
            "config": run["config"],
            "config_hash": run["config_hash"],
            "data": run["data"],
            "iteration": state["iteration"],
            "env_steps": state["env_steps"],
            "seed": config.training.seed,
        },
        metrics={"validation": validation},
    )


@click.command("export")
@click.argument("source", metavar="RUN_OR_CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Bundle folder to make."
)
def export_command(source: Path, out: Path) -> None:
    """Make a policy bundle that backtest and service load.

    Of a run, the checkpoint with the best validation P&L by the full serving rule is taken.
    """
    bundle = export_run(source, out)
    click.echo(f"bundle {bundle.bundle_id} in {out}")

"""The ``tactical tune`` command."""

from __future__ import annotations

from pathlib import Path

import click

from rllib_tactical.artifacts.folder_lock import locked_folder
from rllib_tactical.artifacts.storage import Place, place_of
from rllib_tactical.cli.options import MLFLOW, FolderType, training_data_options
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import data_sources
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import UsageError
from rllib_tactical.reporting.mlflow_store import logged, opened_store
from rllib_tactical.sweep.folder import SUMMARY, SWEEP_OUTPUT, SweepFolder, read_plan
from rllib_tactical.sweep.mlflow_sweep import log_sweep
from rllib_tactical.sweep.results import conclude, result_lines
from rllib_tactical.sweep.runner import Sweep, run_sweep
from rllib_tactical.sweep.spec import SweepSpec, load_sweep, recorded_sweep, with_changes


@click.command("tune")
@click.option(
    "--sweep",
    "sweep_path",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="What is swept; see tune_configs/. With --resume the sweep's own unless given.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="Settings of all trials where the sweep says nothing; see tactical.yaml.",
)
@training_data_options
@click.option(
    "--out", required=True, type=FolderType(), help="Folder of the sweep, or a URI (s3://...)."
)
@click.option("--samples", type=click.IntRange(min=1), help="Number of trials; of grids, rounds.")
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations of a trial.")
@click.option(
    "--num-env-runners", type=click.IntRange(min=0), help="Ray actors that sample, per trial."
)
@click.option("--max-concurrent", type=click.IntRange(min=1), help="Most trials at a time.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the search.")
@MLFLOW
@click.option("--resume", is_flag=True, help="Continue the sweep in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def tune_command(
    sweep_path: Path | None,
    config_path: Path | None,
    data: tuple[Path, ...],
    out: Path | str,
    instrument: tuple[str, ...],
    synergies: str,
    reading: ReadOptions,
    samples: int | None,
    iterations: int | None,
    num_env_runners: int | None,
    max_concurrent: int | None,
    seed: int | None,
    mlflow: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Search for better settings: many short trainings, scored on the validation bars.

    A trial is a training run of its own, in one process; as many run at a time as the Ray cluster
    has CPUs for. What counts is the net P&L on the validation bars by the serving rule.
    Leaves all run folders, the best trial's bundle, report.html, and trials.parquet, from which
    `tactical backtest --trials` tells how far chance explains the best. --resume goes on after
    any interruption: finished trials are kept, others continue from their newest checkpoint.
    """
    place = place_of(out)
    store = opened_store(mlflow)
    SWEEP_OUTPUT.require(place, resume=resume)
    spec = _spec(sweep_path, config_path, place, resume)
    spec = with_changes(
        spec,
        {"iterations": iterations, "num_env_runners": num_env_runners},
        samples=samples,
        max_concurrent=max_concurrent,
        seed=seed,
    )
    sources = data_sources(data, instrument, synergies, options=reading)
    folder = SweepFolder(place)

    def log(text: str) -> None:
        click.echo(text, err=as_json)

    try:
        with locked_folder(place):
            shared = run_sweep(Sweep(spec, sources, BAR_SECONDS, folder), resume, log)
            found = conclude(spec, folder, shared, log)
        logged(store, log, lambda given: log_sweep(given, folder))
        if as_json:
            click.echo((folder.local / SUMMARY).read_text(encoding="utf-8").rstrip())
            return
        for line in result_lines(found, folder):
            click.echo(line)
    finally:
        folder.close()


def _spec(path: Path | None, config: Path | None, place: Place, resume: bool) -> SweepSpec:
    if path is not None:
        return load_sweep(path, config=config)
    if config is not None:
        raise UsageError("--config goes with --sweep")
    if not resume:
        raise UsageError("--sweep is required, unless --resume continues a sweep")
    return recorded_sweep(read_plan(place), f"{place}")

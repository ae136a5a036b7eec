"""Sweep hyper-parameters: the ``tactical tune`` command, also a job entry point of its own.

python -m rllib_tactical.tune --sweep tune_configs/smoke.yaml --data FILE --out DIR
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

if __package__ in (None, ""):  # run as a script by path: the checkout is the import root
    # the folder of this script would hide the standard library's modules of the same names
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rllib_tactical.config import from_dict
from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.synergies import DETECT, NONE
from rllib_tactical.errors import UsageError
from rllib_tactical.rl.prepare import DataSource
from rllib_tactical.storage import FolderType, Place, place_of
from rllib_tactical.sweep.folder import SUMMARY, SweepFolder, read_plan
from rllib_tactical.sweep.results import conclude, result_lines
from rllib_tactical.sweep.runner import Sweep, run_sweep
from rllib_tactical.sweep.spec import SweepSpec, load_sweep, with_changes

BAR_SECONDS = 300


@click.command("tune")
@click.option(
    "--sweep",
    "sweep_path",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="What is swept; see tune_configs/. With --resume the sweep's own unless given.",
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of bars; several for several instruments.",
)
@click.option(
    "--out", required=True, type=FolderType(), help="Folder of the sweep, or a URI (s3://...)."
)
@click.option(
    "--instrument",
    multiple=True,
    help="Shipped name or YAML file, one per --data; else told by the data file's name.",
)
@click.option(
    "--synergies",
    default=DETECT,
    show_default=True,
    help="detect them on the bars, none, or a file of events (a JSON object per line).",
)
@click.option("--samples", type=click.IntRange(min=1), help="Number of trials; of grids, rounds.")
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations of a trial.")
@click.option(
    "--num-env-runners", type=click.IntRange(min=0), help="Ray actors that sample, per trial."
)
@click.option("--max-concurrent", type=click.IntRange(min=1), help="Most trials at a time.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the search.")
@click.option("--resume", is_flag=True, help="Continue the sweep in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def tune_command(
    sweep_path: Path | None,
    data: tuple[Path, ...],
    out: Path | str,
    instrument: tuple[str, ...],
    synergies: str,
    samples: int | None,
    iterations: int | None,
    num_env_runners: int | None,
    max_concurrent: int | None,
    seed: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Search for better settings: many short trainings, judged on the validation bars.

    A trial is a training run of its own, in one process; as many run at a time as the Ray cluster
    has CPUs for. What counts is the net P&L on the validation bars by the full serving rule.
    Leaves all run folders, the best trial's bundle, report.html, and trials.parquet, from which
    `tactical backtest --trials` tells how far chance explains the best. --resume goes on after
    any interruption: finished trials are kept, others continue from their newest checkpoint.
    """
    place = place_of(out)
    spec = _spec(sweep_path, place, resume)
    spec = with_changes(
        spec,
        {"iterations": iterations, "num_env_runners": num_env_runners},
        samples=samples,
        max_concurrent=max_concurrent,
        seed=seed,
    )
    sources = _sources(data, instrument, synergies)
    folder = SweepFolder(place)

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    try:
        shared = run_sweep(Sweep(spec, sources, BAR_SECONDS, folder), resume, say)
        found = conclude(spec, folder, shared, say)
        if as_json:
            click.echo((folder.local / SUMMARY).read_text(encoding="utf-8").rstrip())
            return
        for line in result_lines(found, folder):
            click.echo(line)
    finally:
        folder.close()


def _spec(path: Path | None, place: Place, resume: bool) -> SweepSpec:
    if path is not None:
        return load_sweep(path)
    if not resume:
        raise UsageError("--sweep is required, unless --resume continues a sweep")
    return from_dict(SweepSpec, read_plan(place)["sweep"], f"{place}")


def _sources(
    data: tuple[Path, ...], instrument: tuple[str, ...], synergies: str
) -> list[DataSource]:
    if instrument and len(instrument) != len(data):
        raise UsageError(
            f"give one --instrument per --data or none, found {len(instrument)} and {len(data)}"
        )
    if len(data) > 1 and synergies not in (DETECT, NONE):
        raise UsageError("--synergies FILE goes with one --data, because events name no symbol")
    names: tuple[Any, ...] = instrument or (None,) * len(data)
    return [
        DataSource(path, instrument_for(name, path), synergies)
        for path, name in zip(data, names, strict=True)
    ]


def main() -> None:
    """Run ``tune`` as a program of its own, for ``ray job submit`` and ``ray submit``."""
    from rllib_tactical.cli import run

    run(["tune", *sys.argv[1:]])


if __name__ == "__main__":
    main()

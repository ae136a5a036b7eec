"""The ``tactical paper`` command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from rllib_tactical.backtest.request import moment
from rllib_tactical.backtest.verdict import verdict
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.cli.backtest import print_runs
from rllib_tactical.cli.options import FILE, read_options
from rllib_tactical.data.interpret.interpretation import interpretation_of_data
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import UsageError
from rllib_tactical.live.run import PaperRequest, run_paper
from rllib_tactical.runtime.progress import show_progress
from serve.http.security import TOKEN_VARIABLE

INTERRUPTED = 130


@click.command("paper")
@click.option(
    "--url",
    metavar="URL",
    help=f"Running service, such as http://127.0.0.1:8001; {TOKEN_VARIABLE} has its token.",
)
@click.option(
    "--bundle",
    "bundle_path",
    type=FILE,
    metavar="DIR",
    help="Policy bundle; without --url it decides in this process.",
)
@click.option("--data", metavar="FILE|-", help="Bars to trade; - for standard input.")
@click.option(
    "--bus",
    metavar="URL",
    help="Trade the bars that come on the bus at redis://HOST:PORT/DB#NAME, instead of --data.",
)
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder for log and results.")
@click.option("--follow", is_flag=True, help="Go on with the bars that are added to the file.")
@click.option(
    "--speed",
    default=0.0,
    type=click.FloatRange(min=0.0),
    metavar="X",
    help="Times as fast as the market.  [default: as fast as possible]",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted session in --out.")
@click.option("--start", metavar="DATE", help="First day or time (UTC) to decide on.")
@click.option("--stop", metavar="DATE", help="Day or time (UTC) before which to stop.")
@click.option(
    "--synergies",
    help="What the report says of synergies: detect, none, or a file of events; as the bundle was "
    "trained where it is not given.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--no-baselines", is_flag=True, help="Report the session only.")
@click.option("--no-statistics", is_flag=True, help="Do not say how sure the result is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def paper_command(
    url: str | None,
    bundle_path: Path | None,
    data: str | None,
    bus: str | None,
    out: Path,
    follow: bool,
    speed: float,
    resume: bool,
    start: str | None,
    stop: str | None,
    synergies: str | None,
    seed: int,
    no_baselines: bool,
    no_statistics: bool,
    as_json: bool,
    reading: ReadOptions,
) -> int:
    """Trade bars on paper with the service, and report as a backtest does.

    Bars are sent as they close, each decision is asked for, its order is filled by the simulator of
    the backtest, and the fills are reported to the service. The service must be fresh (a new
    --state) and, for bars of the past, have service.live_bars: false. Writes session.jsonl, from
    which --resume goes on, and the files of a backtest into --out.
    """
    if (data is None) == (bus is None):
        raise UsageError("give --data, or --bus that has the bars, one of them")
    request = PaperRequest(
        bundle=None if bundle_path is None else load_bundle(bundle_path),
        url=url,
        token=os.environ.get(TOKEN_VARIABLE) or None,
        data=None if data is None or data == "-" else Path(data),
        bus=bus,
        out=out,
        synergies=synergies,
        options=reading,
        follow=follow,
        speed=speed,
        start_s=moment(start, "--start"),
        stop_s=moment(stop, "--stop"),
        resume=resume,
        seed=seed,
        with_baselines=not no_baselines,
        with_statistics=not no_statistics,
    )
    try:
        with show_progress() as update:
            outcome = run_paper(request, update)
    except KeyboardInterrupt:
        click.echo(f"interrupted: go on with --resume --out {out}", err=True)
        return INTERRUPTED
    comparison, config = outcome.comparison, outcome.config
    text = verdict(comparison)
    click.echo(interpretation_of_data(config["data"]), err=True)
    if as_json:
        document = {"out": str(out), "verdict": text, **comparison.to_dict()}
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return 0
    rows = [(run.label, run.metrics) for run in comparison.runs]
    print_runs(f"{config['instrument']['symbol']} on paper, net of costs", rows, text)
    for note in outcome.context.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Report: {out / 'report.html'}")
    return 0

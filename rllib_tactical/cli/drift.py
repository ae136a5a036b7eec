"""The ``tactical drift`` command."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.output_folder import require_output_file
from rllib_tactical.backtest.request import moment
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.cli.options import FILE, read_options
from rllib_tactical.cli.tables import print_table
from rllib_tactical.data.dataset import Dataset, load_dataset
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.errors import UsageError
from rllib_tactical.monitoring.bundle_drift import bundle_profile, observe, training_end_s
from rllib_tactical.monitoring.monitor import DriftReport, assess
from rllib_tactical.monitoring.observations import DAY_S
from rllib_tactical.monitoring.page import render_drift, table_rows
from rllib_tactical.monitoring.profile import (
    FALSE_ALARMS,
    read_profile,
    write_profile,
)

_SHOWN = 12  # rows of the table


@click.command("drift")
@click.option("--bundle", "bundle_path", required=True, type=FILE, metavar="DIR", help="Bundle.")
@click.option("--data", type=FILE, metavar="FILE", help="Bars to compare.")
@click.option(
    "--reference",
    type=FILE,
    metavar="FILE",
    help="Bars to compare with, such as those of training; else those of --data up to the end of "
    "the bundle's training.",
)
@click.option(
    "--profile",
    "profile_path",
    type=FILE,
    metavar="FILE",
    help="Or a profile that --save-profile wrote.",
)
@click.option(
    "--save-profile",
    type=FILE,
    metavar="FILE",
    help="Write the bundle's profile, as the service and later calls need it.",
)
@click.option("--start", metavar="DATE", help="First day or time (UTC) of --data to compare.")
@click.option(
    "--false-alarms",
    default=FALSE_ALARMS,
    show_default=True,
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    help="Probability that a stable month of 21 sessions has any alarm.",
)
@click.option("--instrument", metavar="NAME", help="Shipped name or YAML file; else the bundle's.")
@click.option(
    "--synergies",
    help="detect them on the bars, none, or a file of events; as the bundle was trained where it "
    "is not given.",
)
@click.option("--out", type=FILE, metavar="FILE", help="HTML page to write.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def drift_command(
    bundle_path: Path,
    data: Path | None,
    reference: Path | None,
    profile_path: Path | None,
    save_profile: Path | None,
    start: str | None,
    false_alarms: float,
    instrument: str | None,
    synergies: str | None,
    out: Path | None,
    seed: int,
    as_json: bool,
    reading: ReadOptions,
) -> int:
    """Say how far the market and the bundle's decisions are from what they were.

    Inputs (population stability and Kolmogorov-Smirnov distance of every feature), confidence, vote
    mix, calibration, accuracy, P&L and slippage of the last 5 and 20 sessions are compared with a
    reference. Exit code 1: something is above its threshold.
    """
    if data is None and save_profile is None:
        raise UsageError("give --data to compare, or --save-profile to keep a profile")
    if reference is not None and profile_path is not None:
        raise UsageError("give --reference or --profile, not both")
    for path in (out, save_profile):
        if path is not None:
            require_output_file(path)
    bundle = load_bundle(bundle_path)

    def load(path: Path) -> Dataset:
        names = () if instrument is None else (instrument,)
        (source,) = sources_for((path,), names, bundle, synergies, reading)
        return load_dataset(source.data, bundle.bar_seconds).sized(WarmUpBars())

    start_s = moment(start, "--start")
    if profile_path is not None:
        profile = read_profile(profile_path)
        if profile.bundle_id != bundle.bundle_id:
            raise UsageError(
                f"--profile must be of bundle {bundle.bundle_id[:12]}, found one of "
                f"{profile.bundle_id[:12]}"
            )
    elif reference is not None:
        profile = bundle_profile(bundle, load(reference), false_alarms=false_alarms, seed=seed)
    else:
        if data is None:
            raise UsageError("--save-profile needs --reference, or --data with bars of training")
        start_s = _after_training(bundle, start_s)
        profile = bundle_profile(bundle, load(data), start_s, false_alarms=false_alarms, seed=seed)
    if save_profile is not None:
        write_profile(save_profile, profile)
    if data is None:
        click.echo(f"Profile: {save_profile}")
        return 0
    report = assess(profile, observe(bundle, load(data), start_s))
    if out is not None:
        atomic_write_text(out, render_drift(report, profile))
    if as_json:
        click.echo(json.dumps({**report.to_dict(), "reference": profile.reference}, indent=2))
    else:
        _print(report)
        click.echo(f"Reference: {profile.reference.get('data')}; {profile.reference['outcomes']}.")
        if out is not None:
            click.echo(f"Page: {out}")
    return 1 if report.alarms else 0


def _after_training(bundle: Bundle, start_s: int | None) -> int:
    """Return the second of the first session after the bundle's training, or after ``start_s``."""
    ended = training_end_s(bundle)
    if start_s is not None:
        return start_s
    if ended is None:
        raise UsageError(
            "--reference is needed: the bundle does not say which bars it was trained on"
        )
    return (ended // DAY_S + 1) * DAY_S


def _print(report: DriftReport) -> None:
    table = Table(title=escape(f"Drift of {report.symbol}, {len(report.session)} sessions"))
    for name in ("group", "statistic", "sessions", "value", "threshold", "ratio", "alarm"):
        right = name not in ("group", "statistic", "alarm")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in table_rows(report)[:_SHOWN]:
        cells = [row[k] for k in ("group", "statistic", "window", "value", "threshold", "ratio")]
        table.add_row(*cells, "yes" if row["alarm"] else "")
    print_table(table)
    click.echo(report.words)

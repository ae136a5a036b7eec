"""The ``tactical backtest`` command."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rllib_tactical.backtest.evaluate import Evaluation, evaluate_bundle
from rllib_tactical.backtest.provenance import Seen, seen_in_training
from rllib_tactical.backtest.report import ReportContext, figure_text, verdict
from rllib_tactical.backtest.write import write_backtest
from rllib_tactical.bundle import Bundle, load_bundle
from rllib_tactical.config import to_dict
from rllib_tactical.data.files import file_sha256
from rllib_tactical.data.instruments import load_instrument, resolve_base_quantity
from rllib_tactical.data.load import load_market
from rllib_tactical.data.synergies import DETECT, NONE, synergies_for
from rllib_tactical.domain.causality import check_causality
from rllib_tactical.domain.tape import Tape, build_tape
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.lineage import git_commit

_FILE = click.Path(path_type=Path)


@click.command("backtest")
@click.option("--bundle", "bundle_path", required=True, type=_FILE, metavar="DIR", help="Policy.")
@click.option("--data", required=True, type=_FILE, metavar="FILE", help="Bars to trade.")
@click.option("--out", required=True, type=_FILE, metavar="DIR", help="Folder for the results.")
@click.option("--instrument", metavar="NAME", help="Instrument, if not the bundle's.")
@click.option(
    "--synergies",
    default=DETECT,
    show_default=True,
    help="detect them on the bars, none, or a file of events.",
)
@click.option("--start", metavar="DATE", help="First day or time (UTC) to decide on.")
@click.option("--stop", metavar="DATE", help="Day or time (UTC) before which to stop.")
@click.option("--no-baselines", is_flag=True, help="Run the bundle only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest_command(
    bundle_path: Path,
    data: Path,
    out: Path,
    instrument: str | None,
    synergies: str,
    start: str | None,
    stop: str | None,
    no_baselines: bool,
    as_json: bool,
) -> None:
    """Trade bars with a bundle and write what came of it, beside the baselines.

    Writes kpis.json, trades.csv, equity.parquet, decisions.parquet, config.json and report.html
    into --out. The bars before the first decision (359, or all before --start) warm up features.
    """
    first_s, stop_s = _moment(start, "--start"), _moment(stop, "--stop")
    if first_s is not None and stop_s is not None and first_s >= stop_s:
        raise UsageError(f"--start must be before --stop, found {start} and {stop}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, found a file: {out}")
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("bundle", total=None)

        def stage(name: str) -> None:
            bar.update(task, description=name, completed=0, total=None)

        bundle = load_bundle(bundle_path)
        market = load_instrument(instrument) if instrument is not None else bundle.instrument
        stage("bars")
        bars, sessions = load_market(data, market, bundle.bar_seconds)
        data_sha256 = file_sha256(data)
        stage("check for look-ahead")
        check_causality(bars)
        stage("features")
        track = synergies_for(synergies, bars, bundle.bar_seconds)
        tape = _sized(build_tape(bars, sessions, market, track), bundle)
        begin, end = decision_range(bars, tape.first_decision, first_s, stop_s)
        evaluation = evaluate_bundle(
            bundle,
            tape,
            begin,
            end,
            with_baselines=not no_baselines,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            stage=stage,
        )
        stage("report")
        seen = seen_in_training(bundle, data_sha256, evaluation.policy.result)
        config = _config(bundle, tape.instrument, data, data_sha256, evaluation)
        config["synergies"] = synergies if synergies in (DETECT, NONE) else Path(synergies).name
        context = ReportContext(
            title=f"Backtest of {tape.instrument.symbol} with bundle {bundle.bundle_id[:12]}",
            facts=_facts(config),
            seen=seen,
        )
        write_backtest(evaluation, out, context, config)
    if as_json:
        document = {"out": str(out), "verdict": verdict(evaluation), **evaluation.to_dict()}
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        _print(evaluation, seen, out)


def decision_range(
    bars: Bars, first_decision: int, first_s: int | None, stop_s: int | None
) -> tuple[int, int]:
    """Return the decision bars of a time range as start <= t < stop.

    Args:
        bars: the history.
        first_decision: the first bar with warm features.
        first_s: UTC epoch second of the first bar wanted; the history's begin when None.
        stop_s: UTC epoch second before which bars must open; the history's end when None.

    Raises:
        DataError: fewer than two bars are left.
    """
    time_s = bars.timestamp_s
    start = 0 if first_s is None else int(np.searchsorted(time_s, first_s))
    start = max(start, first_decision)
    stop = len(bars) if stop_s is None else int(np.searchsorted(time_s, stop_s))
    if stop - start < 2:
        raise DataError(
            f"no bars to trade: the data covers {_iso(time_s[0])} to {_iso(time_s[-1])}, the first "
            f"{first_decision} bars warm up the features, and {max(0, stop - start)} bars of the "
            "range are left, at least 2 are needed"
        )
    return start, stop


def _sized(tape: Tape, bundle: Bundle) -> Tape:
    """Give an instrument without base quantity one: the bundle's, else from the warm-up bars."""
    instrument = tape.instrument
    if instrument.base_quantity is None and instrument.symbol == bundle.instrument.symbol:
        instrument = dataclasses.replace(instrument, base_quantity=bundle.instrument.base_quantity)
    mean_atr = float(tape.features.atr[: tape.first_decision].mean())
    return dataclasses.replace(tape, instrument=resolve_base_quantity(instrument, mean_atr))


def _moment(text: str | None, option: str) -> int | None:
    """Return the UTC epoch second of an ISO date or time; times without an offset are UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} must be a date such as 2025-03-31 or an ISO time, found {text!r}"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _config(
    bundle: Bundle,
    instrument: Instrument,
    data: Path,
    data_sha256: str,
    evaluation: Evaluation,
) -> dict[str, Any]:
    result = evaluation.policy.result
    return {
        "bundle_id": bundle.bundle_id,
        "bundle_commit": bundle.manifest["git_commit"],
        "commit": git_commit(),
        "data": {"name": data.name, "sha256": data_sha256, "bars": len(result.tape)},
        "bar_seconds": bundle.bar_seconds,
        "range": {"start": result.start, "stop": result.stop},
        "temperature_scale": bundle.temperature_scale,
        "mode": "greedy",
        "instrument": to_dict(instrument),
        "rules": to_dict(result.rules),
        "rewards": to_dict(result.rewards),
    }


def _facts(config: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("bundle", config["bundle_id"]),
        ("data", f"{config['data']['name']}, {config['data']['bars']:,} bars"),
        ("data SHA-256", config["data"]["sha256"]),
        ("program", config["commit"] or "unknown commit"),
        ("temperature scale", f"{config['temperature_scale']:g}"),
        ("instrument", _one_line(config["instrument"])),
        *((name, _one_line(values)) for name, values in config["rules"].items()),
    )


def _one_line(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _print(evaluation: Evaluation, seen: Seen, out: Path) -> None:
    console = Console()
    table = Table(title=f"{evaluation.policy.result.tape.instrument.symbol}, net of costs")
    columns = {
        "net_pnl": "net P&L",
        "trades": "trades",
        "win_rate": "win\nrate",
        "profit_factor": "profit\nfactor",
        "sharpe": "Sharpe",
        "max_drawdown": "max\ndrawdown",
    }
    table.add_column("policy")
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
    for row in evaluation.rows():
        table.add_row(row["label"], *(figure_text(name, row[name]) for name in columns))
    console.print(table)
    console.print(verdict(evaluation))
    if seen.warning:
        console.print(f"Note: {seen.note}")
    if evaluation.trades_too_little:
        console.print(
            f"Note: {evaluation.full_rule_trades:,} trades by the full rule, "
            f"{evaluation.training_rule_trades:,} by the rule of training: less than half as often."
        )
    console.print(f"Report: {escape(str(out / 'report.html'))}")


def _iso(time_s: np.int64) -> str:
    return f"{np.datetime64(int(time_s), 's')}Z"

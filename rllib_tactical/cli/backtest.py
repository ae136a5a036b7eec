"""The ``tactical backtest`` command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from rllib_tactical.artifacts.json_file import read_object
from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.metrics import Metrics
from rllib_tactical.backtest.policies import POLICIES
from rllib_tactical.backtest.portfolio import combine
from rllib_tactical.backtest.report.tables import agent_rows
from rllib_tactical.backtest.report.writer import (
    CONFIG,
    KPIS,
    REPORT,
    require_own_folder,
    write_backtest,
    write_portfolio,
)
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.request import Outcome, Request, backtest_source, moment
from rllib_tactical.backtest.shapley import AgentValues
from rllib_tactical.backtest.sources import sources_for
from rllib_tactical.backtest.targets import targets_with
from rllib_tactical.backtest.together import with_places
from rllib_tactical.backtest.verdict import metric_text, verdict
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.cli.options import MLFLOW, read_options
from rllib_tactical.cli.tables import print_table
from rllib_tactical.config.loader import load_config
from rllib_tactical.data.interpret.interpretation import interpretation_of_data
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import UsageError
from rllib_tactical.reporting.mlflow_store import logged, opened_store
from rllib_tactical.statistics.trials import read_trials
from rllib_tactical.synthetic import MARKETS

_FILE = click.Path(path_type=Path)


@click.command("backtest")
@click.option("--bundle", "bundle_path", type=_FILE, metavar="DIR", help="Policy bundle.")
@click.option("--policy", type=click.Choice(list(POLICIES)), help="Or a built-in policy.")
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Bars to trade, a file, or a folder or quoted pattern of the files of one instrument; "
    "several are traded side by side.",
)
@click.option("--out", required=True, type=_FILE, metavar="DIR", help="Folder for the results.")
@click.option(
    "--instrument",
    multiple=True,
    metavar="NAME",
    help="Shipped name or YAML file, one per --data; else the bundle's or the file name's.",
)
@click.option(
    "--synergies",
    help="detect them on the bars, none, or a file of events; as the bundle was trained where it "
    "is not given.",
)
@click.option("--start", metavar="DATE", help="First day or time (UTC) to decide on.")
@click.option("--stop", metavar="DATE", help="Day or time (UTC) before which to stop.")
@click.option(
    "--market",
    type=click.Choice(MARKETS),
    help="The synthetic market that the bars are of: its oracle joins the report.",
)
@click.option(
    "--config",
    "config_path",
    type=_FILE,
    metavar="YAML",
    help="Rules and targets of a built-in policy.",
)
@click.option(
    "--trials",
    "trials_path",
    type=_FILE,
    metavar="FILE",
    help="Daily P&L of all trials that the bundle was chosen from, a column each.",
)
@click.option(
    "--agents",
    "with_agents",
    is_flag=True,
    help="Say what each agent of the bundle contributes: Shapley values over eight coalitions.",
)
@click.option(
    "--positions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of several files: most positions open at a time, all instruments together.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--no-baselines", is_flag=True, help="Run the policy only.")
@click.option("--no-statistics", is_flag=True, help="Do not say how sure the result is.")
@MLFLOW
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def backtest_command(
    bundle_path: Path | None,
    policy: str | None,
    data: tuple[Path, ...],
    out: Path,
    instrument: tuple[str, ...],
    synergies: str | None,
    start: str | None,
    stop: str | None,
    market: str | None,
    config_path: Path | None,
    trials_path: Path | None,
    with_agents: bool,
    positions: int | None,
    seed: int,
    no_baselines: bool,
    no_statistics: bool,
    mlflow: str | None,
    as_json: bool,
    reading: ReadOptions,
) -> None:
    """Trade bars with a bundle or a built-in policy and write the results.

    Writes kpis.json, trades.csv, equity.parquet, decisions.parquet, config.json and report.html
    into --out, with baselines and statistics. The bars before the first decision (359, or all
    before --start) warm up features. Each of several files is traded by an account of its own:
    the folder parts/ has the results of each, and the files at the top those of all. With
    --positions they share places for open positions.
    """
    first_s, stop_s = moment(start, "--start"), moment(stop, "--stop")
    if first_s is not None and stop_s is not None and first_s >= stop_s:
        raise UsageError(f"--start must be before --stop, found {start} and {stop}")
    if bundle_path is not None and config_path is not None:
        raise UsageError("--config is for --policy: a bundle brings its own rules")
    if positions is not None and with_agents:
        raise UsageError("--agents must not be given with --positions: they trade on their own")
    require_own_folder(out)
    store = opened_store(mlflow)
    config = load_config(config_path)
    with _progress() as (bar, task):
        request = Request(
            bundle=load_bundle(bundle_path) if bundle_path is not None else None,
            policy=policy,
            rules=config.rules,
            targets=targets_with(config.performance.accuracy_targets),
            start_s=first_s,
            stop_s=stop_s,
            seed=seed,
            market=market,
            with_baselines=not no_baselines,
            with_statistics=not no_statistics,
            with_agents=with_agents,
            trials=read_trials(trials_path) if trials_path is not None else None,
        )
        outcomes = {
            source.name: backtest_source(
                request,
                source,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                stage=lambda name: bar.update(task, description=name, completed=0, total=None),
            )
            for source in sources_for(data, instrument, request.bundle, synergies, reading)
        }
        if positions is not None:
            bar.update(task, description="positions of all files", completed=0, total=None)
            outcomes = _sharing(outcomes, positions, request)
        document, rows, text = _write(request, outcomes, out)
    logged(
        store,
        lambda line: click.echo(line, err=True),
        lambda given: given.log_result(
            "backtest",
            out.name,
            params=read_object(out / CONFIG),
            result=document,
            files=[out / KPIS, out / REPORT],
        ),
    )
    for outcome in outcomes.values():
        click.echo(interpretation_of_data(outcome.config["data"]), err=True)
    if as_json:
        click.echo(json.dumps({"out": str(out), **document}, indent=2, allow_nan=False))
        return
    title = ", ".join(outcomes)
    print_runs(f"{title}, net of costs", rows, text)
    for name, outcome in outcomes.items():
        if outcome.comparison.agents is not None:
            print_agents(name, outcome.comparison.agents)
    for outcome in outcomes.values():
        for note in _notes(outcome):
            click.echo(f"Note: {note}")
    click.echo(f"Report: {out / 'report.html'}")


def _sharing(outcomes: dict[str, Outcome], places: int, request: Request) -> dict[str, Outcome]:
    """Return the outcomes with places for positions that the files share, and say so in each."""
    if len(outcomes) < 2:
        raise UsageError("--positions is for several --data, found one")
    alone = {name: outcome.comparison for name, outcome in outcomes.items()}
    shared = with_places(alone, places, request.trials, request.seed)
    note = f"at most {places} positions open at a time, all {len(outcomes)} files together."
    return {
        name: dataclasses.replace(
            outcome,
            comparison=shared[name],
            config={**outcome.config, "positions": places},
            context=dataclasses.replace(outcome.context, notes=(*outcome.context.notes, note)),
        )
        for name, outcome in outcomes.items()
    }


def _write(
    request: Request, outcomes: dict[str, Outcome], out: Path
) -> tuple[dict[str, Any], list[tuple[str, Metrics]], str]:
    """Write results; return a document for programs, lines for the table and the verdict."""
    if len(outcomes) == 1:
        (outcome,) = outcomes.values()
        comparison = outcome.comparison
        write_backtest(comparison, out, outcome.context, outcome.config)
        text = verdict(comparison)
        rows = [(run.label, run.metrics) for run in comparison.runs]
        return {"verdict": text, **comparison.to_dict()}, rows, text
    parts: dict[str, Comparison] = {name: o.comparison for name, o in outcomes.items()}
    portfolio = combine(parts, request.trials, request.seed)
    context = ReportContext(
        title=f"Backtest of {', '.join(outcomes)} with {request.name}",
        facts=(("files", str(len(outcomes))), ("program", git_commit() or "unknown commit")),
        notes=tuple(
            f"{name}: {note}" for name, outcome in outcomes.items() for note in _notes(outcome)
        ),
    )
    config = {"parts": {name: outcome.config for name, outcome in outcomes.items()}}
    described = {name: (outcome.context, outcome.config) for name, outcome in outcomes.items()}
    write_portfolio(portfolio, out, context, config, described)
    text = portfolio.verdict()
    rows = [(run.label, run.metrics) for run in portfolio.runs]
    return {"verdict": text, **portfolio.to_dict()}, rows, text


def _notes(outcome: Outcome) -> list[str]:
    """Return what a reader of one file's result must know."""
    notes = list(outcome.context.notes)
    if outcome.seen is not None and outcome.seen.warning:
        notes.append(outcome.seen.note)
    comparison = outcome.comparison
    if comparison.trades_too_little:
        notes.append(
            f"{comparison.full_rule_trades:,} trades by the serving rule, "
            f"{comparison.training_rule_trades:,} by the rule of training: less than half as often."
        )
    return notes


def print_runs(title: str, rows: list[tuple[str, Metrics]], text: str) -> None:
    """Print the metrics of policies below each other, and the verdict."""
    console = Console()
    table = Table(title=escape(title))
    columns = {
        "net_pnl": "net P&L",
        "trades": "trades",
        "trades_per_day": "a day",
        "win_rate": "win\nrate",
        "profit_factor": "profit\nfactor",
        "sharpe": "Sharpe",
        "max_drawdown": "max\ndrawdown",
    }
    table.add_column("policy")
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    for label, metrics in rows:
        table.add_row(label, *(metric_text(name, metrics.number(name)) for name in columns))
    print_table(table, console)
    console.print(text, markup=False, highlight=False)


def print_agents(name: str, values: AgentValues) -> None:
    """Print what each agent contributes on one file."""
    columns, rows = agent_rows(values)
    table = Table(title=escape(f"{name}: what each agent contributes"))
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    print_table(table)


@contextmanager
def _progress() -> Iterator[tuple[Progress, TaskID]]:
    """Yield a bar on standard error and its task."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar, bar.add_task("bundle", total=None)

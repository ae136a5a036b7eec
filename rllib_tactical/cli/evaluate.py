"""The ``tactical evaluate`` command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from rllib_tactical.artifacts.atomic import atomic_file
from rllib_tactical.artifacts.folder_lock import locked_folder
from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.backtest.metrics import TABLE_METRICS
from rllib_tactical.backtest.report.writer import REPORT, write_backtest
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.request import moment
from rllib_tactical.backtest.verdict import metric_text
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli.options import MLFLOW, read_options
from rllib_tactical.config.loader import load_config, recorded_config, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import data_sources, load_dataset
from rllib_tactical.data.interpret.interpretation import interpretation_of_data, warning_notes
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.sizing import SIZE_FROM, size_text
from rllib_tactical.data.synergy_events import DETECT
from rllib_tactical.errors import UsageError
from rllib_tactical.reporting.mlflow_store import logged, opened_store
from rllib_tactical.walkforward.folds import fold_by_dates, walk_forward
from rllib_tactical.walkforward.jobs import Job
from rllib_tactical.walkforward.study import (
    STUDY_OUTPUT,
    Study,
    make_study,
    open_folder,
    train_missing,
)
from rllib_tactical.walkforward.summary import Summary, summarize

_FILE = click.Path(path_type=Path)
EVALUATION = "evaluation.json"


@click.command("evaluate")
@click.option("--data", required=True, type=_FILE, metavar="FILE", help="Bars of one instrument.")
@click.option("--out", required=True, type=_FILE, metavar="DIR", help="Folder of the evaluation.")
@click.option("--instrument", metavar="NAME", help="Shipped name or YAML; else the file's name.")
@click.option("--config", "config_path", type=_FILE, metavar="YAML", help="See tactical.yaml.")
@click.option("--folds", type=int, help="Walk-forward folds over the second half.  [default: 4]")
@click.option("--validation-from", metavar="DATE", help="One fold instead: validation begins.")
@click.option("--test-from", metavar="DATE", help="One fold instead: the test begins.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations of each run.")
@click.option(
    "--num-env-runners",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Ray actors that sample, per run; 0: the run samples itself.",
)
@click.option("--parallel", type=click.IntRange(min=1), help="Most runs at a time.")
@click.option(
    "--synergies",
    default=DETECT,
    show_default=True,
    help="detect them on the bars, none, or a file of events.",
)
@click.option("--resume", is_flag=True, help="Continue the evaluation in --out.")
@MLFLOW
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@read_options
def evaluate_command(
    data: Path,
    out: Path,
    instrument: str | None,
    config_path: Path | None,
    folds: int | None,
    validation_from: str | None,
    test_from: str | None,
    seeds: int,
    iterations: int | None,
    num_env_runners: int,
    parallel: int | None,
    synergies: str,
    resume: bool,
    mlflow: str | None,
    as_json: bool,
    reading: ReadOptions,
) -> None:
    """Train on each part of the history, trade the next, and evaluate the method.

    Every fold and seed is a training run of its own, a Ray task; a fold's bundle trades only bars
    that come after everything it was trained and chosen on, with 360 bars left out between. With
    --validation-from and --test-from there is one fold at these dates. The folder keeps the runs,
    so that --resume goes on after any interruption; results/ has the report.
    """
    STUDY_OUTPUT.require(out, resume=resume)
    first_s = moment(validation_from, "--validation-from")
    test_s = moment(test_from, "--test-from")
    if (first_s is None) != (test_s is None):
        raise UsageError("give both --validation-from and --test-from, or none")
    if folds is not None and first_s is not None:
        raise UsageError("give --folds or dates, not both")
    (source,) = data_sources(
        (data,), (instrument,) if instrument else (), synergies, options=reading
    )
    config = _config(config_path, iterations, num_env_runners)
    store = opened_store(mlflow)
    loaded = load_dataset(source)
    click.echo(loaded.interpretation.line(data.name), err=True)
    if first_s is not None and test_s is not None:
        parts = fold_by_dates(loaded.bars, first_s, test_s)
    else:
        parts = walk_forward(len(loaded.bars), 4 if folds is None else folds)
    numbers = tuple(range(config.training.seed, config.training.seed + seeds))
    study = make_study(loaded, parts, numbers, config)

    def log(text: str) -> None:
        click.echo(text, err=True)

    with locked_folder(out):
        open_folder(out, study, resume)
        bundles = train_missing(study, out, parallel, log)
        summary = summarize(study, bundles, log)
        write_summary(study, bundles, summary, out)
    logged(
        store,
        log,
        lambda given: given.log_result(
            "evaluate",
            out.name,
            params=study.describe(),
            result=summary.to_dict(),
            files=[out / EVALUATION, out / "results" / REPORT],
        ),
    )
    if as_json:
        click.echo(json.dumps({"out": str(out), **summary.to_dict()}, indent=2, allow_nan=False))
        return
    for line in table_lines(summary):
        click.echo(line)
    click.echo(summary.verdict())
    click.echo(f"Report: {out / 'results' / REPORT}")


def write_summary(study: Study, bundles: dict[Job, Bundle], summary: Summary, out: Path) -> None:
    """Write the report of the median seed, the metrics of all seeds and the trials.

    Raises:
        UsageError: the folder cannot be written to.
    """
    plan = study.describe()
    config = {
        "bundles": {job.name: bundle.bundle_id for job, bundle in bundles.items()},
        "commit": git_commit(),
        "plan": plan,
        "rules": to_dict(study.config.rules),
    }
    folds = len(study.folds)
    context = ReportContext(
        title=f"Evaluation on {study.history.instrument.symbol}: {folds} "
        f"fold{'s' if folds > 1 else ''}, {len(study.seeds)} seeds",
        facts=_facts(plan),
        notes=(
            f"Plots and metrics are of seed {summary.median}, the median of {len(study.seeds)}. "
            "Intervals and p-values are of the mean over the seeds; trials are all seeds with all "
            "temperature scales.",
            *warning_notes(plan["data"]),
        ),
        verdict=summary.verdict(),
    )
    write_backtest(summary.report(), out / "results", context, config)
    with atomic_file(out / "trials.parquet") as temporary:
        summary.trials.frame().to_parquet(temporary, index=False)
    document = {"plan": plan, "commit": git_commit(), **summary.to_dict()}
    write_object(out / EVALUATION, document)


def table_lines(summary: Summary) -> list[str]:
    """Return the short table of seeds and baselines as lines of text."""
    head = f"{'out of sample, net of costs':<34}" + "".join(
        f"{name.replace('_', ' '):>16}" for name in TABLE_METRICS
    )
    runs = [each.policy for each in summary.seeds.values()]
    runs += summary.seeds[summary.median].baselines
    lines = [head, "-" * len(head)]
    for run in runs:
        cells = (metric_text(name, run.metrics.number(name)) for name in TABLE_METRICS)
        lines.append(f"{run.label:<34}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def _config(path: Path | None, iterations: int | None, num_env_runners: int) -> TacticalConfig:
    config = load_config(path)
    changes: dict[str, Any] = {"num_env_runners": num_env_runners}
    if iterations is not None:
        changes["iterations"] = iterations
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))


def _facts(plan: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    folds = [
        (
            f"fold {fold['number']}",
            "; ".join(
                f"{name} {fold[name]['first'][:10]} to {fold[name]['last'][:10]}, "
                f"{fold[name]['bars']:,} bars"
                for name in ("train", "validation", "test")
            ),
        )
        for fold in plan["folds"]
    ]
    training = recorded_config(plan["config"], EVALUATION).training
    return (
        ("data", f"{plan['data']['name']}, {plan['data']['bars']:,} bars"),
        ("data SHA-256", plan["data"]["sha256"]),
        ("read as", interpretation_of_data(plan["data"])),
        ("size", size_text(plan["instrument"]["base_quantity"], plan["data"][SIZE_FROM])),
        *folds,
        ("seeds", ", ".join(map(str, plan["seeds"]))),
        ("training", f"{training.iterations} iterations of {training.update_steps:,} steps"),
        ("configuration SHA-256", plan["config_hash"]),
        ("program", git_commit() or "unknown commit"),
    )

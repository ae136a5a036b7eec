"""The ``tactical bench`` command: run sections, print the table, write JSON."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.output_folder import require_output_file
from rllib_tactical.bench.machine import machine_facts
from rllib_tactical.bench.measurement import Measurement, Row
from rllib_tactical.cli.tables import print_table
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import MARKETS
from rllib_tactical.synthetic.parameters import UNTUNED

SECTIONS = {
    "market": ("rllib_tactical.bench.market", "measure_market", "MarketSize"),
    "reading": ("rllib_tactical.bench.reading", "measure_reading", "ReadingSize"),
    "engine": ("rllib_tactical.bench.engine", "measure_engine", "EngineSize"),
    "evaluation": ("rllib_tactical.bench.evaluation", "measure_evaluation", "EvaluationSize"),
    "sweep": ("rllib_tactical.bench.sweep", "measure_sweep", "SweepSize"),
    "service": ("rllib_tactical.bench.service", "measure_service", "ServiceSize"),
    "faults": ("rllib_tactical.bench.faults", "measure_faults", "FaultSize"),
    "bus": ("rllib_tactical.bench.bus", "measure_bus", "BusSize"),
    "paper": ("rllib_tactical.bench.paper", "measure_paper", "PaperSize"),
    "learning": ("rllib_tactical.study", "measure_learning", "LearningSize"),
}
"""Name: module, function and class of its sizes. A section's module is imported when it is run."""

LEARNING = "learning"
LONG = ("faults", "bus", "paper", LEARNING)
DEFAULT_SECTIONS = tuple(name for name in SECTIONS if name not in LONG)
"""What runs unless sections are named: faults and kills take long, the study of learning hours."""

METHOD = (
    "Medians, with smallest and largest; rates and latencies by processor time of one thread, "
    "those of servers by the clock, unless a row says otherwise."
)
VERDICTS = {None: "", True: "met", False: "missed"}


@click.command("bench")
@click.option(
    "--section",
    "sections",
    multiple=True,
    type=click.Choice(list(SECTIONS)),
    help="Section to run; may be given several times. "
    'All but "faults", "bus", "paper" and "learning" by default.',
)
@click.option(
    "--question",
    "questions",
    multiple=True,
    metavar="NAME",
    help='Of section "learning": question to answer; may be given several times. All by default.',
)
@click.option(
    "--market",
    "markets",
    multiple=True,
    type=click.Choice((*MARKETS, *UNTUNED)),
    help='Of section "learning": market to ask on; may be given several times.',
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help='Of section "learning": seeds 1 .. N of every question.  [default: 5]',
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help='Of section "learning": account steps of every run.  [default: 409600]',
)
@click.option(
    "--sessions",
    type=click.IntRange(min=2),
    help='Of section "learning": sessions of the unseen market.  [default: 200]',
)
@click.option(
    "--train-bars",
    type=click.IntRange(min=1),
    help='Of section "learning": bars of the market that is trained on.  [default: 400000]',
)
@click.option(
    "--difficulty",
    type=click.FloatRange(0, 1),
    help='Of section "learning": of both markets.  [default: 0]',
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    help='Of section "learning": start no run after this time; 0 only reports finished runs, '
    "of any seed and size.",
)
@click.option(
    "--parallel",
    type=click.IntRange(min=1),
    help='Of section "learning": most runs at a time; as many as there are CPUs by default.',
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    help='Of section "learning": folder of finished runs, tables and plots.  '
    "[default: runs/learning]",
)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def bench_command(
    sections: tuple[str, ...], out: Path | None, as_json: bool, **learning: Any
) -> None:
    """Measure speed and memory, beside targets and what other packages reach in the same run.

    Other packages come with the extra "bench"; a row of one that is not installed says so.

    Rows are written to --out as they come. Ctrl-C or SIGTERM ends the measurements: what there is
    by then is printed and written.

    Section "learning" trains on synthetic markets, run after run, for hours: it keeps each finished
    run and goes on from there when it is called again.
    """
    sizes = _learning_sizes(sections, learning)
    if out is not None:
        require_output_file(out)
    report: dict[str, list[Row]] = {}
    stopped = False

    def record(name: str, row: Row) -> None:
        report.setdefault(name, []).append(row)
        if out is not None:
            atomic_write_text(out, json.dumps(as_document(report, False), indent=2) + "\n")

    # Ray prints messages of its workers to stdout, which is for the measurements alone
    with redirect_stdout(sys.stderr), _interrupted_by_sigterm():
        try:
            run_sections(
                sections or DEFAULT_SECTIONS,
                lambda text: click.echo(text, err=True),
                record=record,
                **sizes,
            )
        except KeyboardInterrupt:
            stopped = True
    document = as_document(report, not stopped)
    if out is not None:
        atomic_write_text(out, json.dumps(document, indent=2) + "\n")
    _show(report, document, as_json)
    if stopped:
        raise click.Abort


def _show(report: dict[str, list[Row]], document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    # a pipe has no width of its own, and folded numbers are hard to read
    console = Console(width=None if sys.stdout.isatty() else 240 if LEARNING in report else 160)
    for name, rows in report.items():
        print_table(as_table(name, rows), console)
        for line in footnotes(rows):
            console.print(line, markup=False, highlight=False)
    facts = document["machine"]
    console.print(METHOD)
    console.print(", ".join(f"{key} {value}" for key, value in facts.items()), highlight=False)


def _learning_sizes(sections: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return ``sizes`` of ``run_sections`` from the options of the section "learning"."""
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if not chosen:
        return {}
    if LEARNING not in sections:
        names = ", ".join(sorted(name.replace("_", " ") for name in chosen))
        raise UsageError(f"options of a study go with --section learning, found {names}")
    module, _, size_class = SECTIONS[LEARNING]
    return {"sizes": {LEARNING: getattr(importlib.import_module(module), size_class)(**chosen)}}


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_sections(
    names: tuple[str, ...],
    progress: Callable[[str], None],
    sizes: dict[str, Any] | None = None,
    record: Callable[[str, Row], None] | None = None,
) -> dict[str, list[Row]]:
    """Return the rows of each named section.

    Args:
        names: keys of ``SECTIONS``.
        progress: called with what is measured next.
        sizes: sizes by section, where they are not the defaults.
        record: called with the section and each row, as soon as it is known.
    """
    report: dict[str, list[Row]] = {}
    for name in names:
        module_name, function, size_class = SECTIONS[name]
        module = importlib.import_module(module_name)
        size = (sizes or {}).get(name) or getattr(module, size_class)()
        measured = getattr(module, function)(
            size, lambda text, name=name: progress(f"{name}: {text}")
        )
        rows = report.setdefault(name, [])
        for row in measured:
            rows.append(row)
            if record is not None:
                record(name, row)
    return report


def as_document(report: dict[str, list[Row]], complete: bool = True) -> dict[str, Any]:
    """Return the machine and all rows as plain values; ``complete``: none is missing."""
    return {
        "format": 1,
        "complete": complete,
        "method": METHOD,
        "machine": machine_facts(),
        "sections": {name: [row.document() for row in rows] for name, rows in report.items()},
    }


def as_table(name: str, rows: list[Row]) -> Table:
    """Return a section's table: a line per measurement, with its baselines below it."""
    table = Table(title=f"bench: {name}", title_justify="left")
    table.add_column("measurement", overflow="fold", no_wrap=name != LEARNING)  # names say the size
    table.add_column("unit", no_wrap=True)
    means = bool(rows) and all(row.measurement.seeds is not None for row in rows)
    names = ("mean", "- s.e.", "+ s.e.") if means else ("median", "min", "max")
    for heading in (*names, "target", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        verdict = VERDICTS[row.met]
        target = "" if row.target is None else _number(row.target)
        table.add_row(row.name, row.unit, *_numbers(row.measurement), target, "", verdict)
        for baseline in row.baselines:
            ratio = row.ratio(baseline)
            shown = "-" if ratio is None else f"{_number(ratio)}x"
            wanted = "" if baseline.target_ratio is None else f"{_number(baseline.target_ratio)}x"
            said = VERDICTS[row.met_against(baseline)] if baseline.measurement else "not available"
            table.add_row(
                f"  {baseline.name}", "", *_numbers(baseline.measurement), wanted, shown, said
            )
        table.add_section()
    return table


def footnotes(rows: list[Row]) -> list[str]:
    """Return what each baseline did, or why it could not be measured, once each."""
    notes = [f"{other.name}: {other.note}" for row in rows for other in row.baselines]
    return list(dict.fromkeys(notes))


def _numbers(measurement: Measurement | None) -> tuple[str, str, str]:
    if measurement is None:
        return "-", "-", "-"
    return _number(measurement.median), _number(measurement.low), _number(measurement.high)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

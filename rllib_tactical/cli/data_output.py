"""How ``tactical data`` prints reports and writes files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.output_folder import require_output_file
from rllib_tactical.cli.tables import print_table
from rllib_tactical.data.files import output_kind
from rllib_tactical.data.quality.findings import CheckReport
from rllib_tactical.data.quality.repair import Change
from rllib_tactical.errors import UsageError

_SHOWN_PER_RULE = 8


def require_output(out: Path, source: Path | None = None) -> None:
    """Refuse an output file of bars that cannot be written, before any work is done.

    Raises:
        UsageError: as of ``require_output_file``, or its suffix names no format.
    """
    output_kind(out)
    require_output_file(out, source)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        atomic_write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def print_report(
    file: Path,
    report: CheckReport,
    repair: Path | None = None,
    changes: list[Change] | None = None,
) -> None:
    """Print findings as tables, with what a repair did if there was one."""
    console = Console()
    if report.findings:
        print_table(_finding_table(report), console)
    if max(report.counts.values(), default=0) > _SHOWN_PER_RULE:
        console.print(
            f"The table shows {_SHOWN_PER_RULE} findings of each rule at most; --json lists "
            "more, see --limit."
        )
    if report.counts:
        counts = Table("rule", "count", title="Findings by rule")
        for rule, count in report.counts.items():
            counts.add_row(rule, f"{count:,}")
        print_table(counts, console)
    console.print(
        f"{escape(str(file))}: {report.rows:,} rows, {report.errors:,} errors, "
        f"{report.warnings:,} warnings"
    )
    if changes is not None:
        console.print(
            f"Repaired copy: {escape(str(repair))}, {len(changes):,} changes, listed in "
            f"{escape(str(repair))}.changes.json"
        )
    elif repair is not None:
        console.print("Nothing was written: the file cannot be repaired.")


def _finding_table(report: CheckReport) -> Table:
    table = Table()
    for name in ("row", "timestamp", "severity", "rule"):
        table.add_column(name, no_wrap=True)
    table.add_column("finding")
    shown: Counter[str] = Counter()
    for finding in report.findings:
        shown[finding.rule] += 1
        if shown[finding.rule] > _SHOWN_PER_RULE:
            continue
        table.add_row(
            "" if finding.row is None else str(finding.row),
            finding.timestamp or "",
            finding.severity,
            finding.rule,
            escape(finding.message),
        )
    return table


def json_text(document: object) -> str:
    """Return a document as indented JSON."""
    return json.dumps(document, indent=2)

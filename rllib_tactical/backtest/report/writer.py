"""Write the results of a backtest; a reader never sees half of a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from rllib_tactical.artifacts.atomic import atomic_file, atomic_write_text
from rllib_tactical.artifacts.output_folder import ReplaceableOutput
from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.portfolio import Portfolio
from rllib_tactical.backtest.report.html_report import render_portfolio, render_report
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.verdict import verdict
from rllib_tactical.errors import UsageError

CONFIG: Final = "config.json"
KPIS: Final = "kpis.json"
REPORT: Final = "report.html"
KIND: Final = "backtest"
PARTS: Final = "parts"
FILES: Final = (
    KPIS,
    "trades.csv",
    "equity.parquet",
    "decisions.parquet",
    CONFIG,
    REPORT,
)
"""Everything that a backtest writes, in this order; of several files also a folder ``parts``."""

BACKTEST_OUTPUT: Final = ReplaceableOutput(
    name=KIND, files=frozenset({*FILES, PARTS}), marker=CONFIG, marker_kind=KIND
)


@dataclass(slots=True)
class _Content:
    """Files to write by name: texts, and tables as Parquet."""

    texts: dict[str, str] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def write_backtest(
    comparison: Comparison, out_dir: Path, context: ReportContext, config: dict[str, Any]
) -> list[Path]:
    """Write the files of ``FILES`` into a folder, replacing those of an earlier backtest.

    Everything is made before the first file is replaced, so that a failure to make one leaves the
    folder as it was.

    Args:
        comparison: what to write.
        out_dir: the folder; made when missing.
        context: title and facts of the report, and what was seen in training.
        config: content of config.json: policy, data, rules, instrument.

    Returns:
        The paths of the files.

    Raises:
        UsageError: the folder holds anything else, cannot be made or cannot be written to.
    """
    require_own_folder(out_dir)
    paths = write_session(comparison, out_dir, context, {"kind": KIND, **config})
    drop_other_parts(out_dir, ())
    return paths


def write_session(
    comparison: Comparison, out_dir: Path, context: ReportContext, config: dict[str, Any]
) -> list[Path]:
    """Write the files of ``FILES`` beside whatever else is in a folder of the caller's.

    Arguments as of ``write_backtest``; ``config`` says what ``kind`` of folder it is.

    Returns:
        The paths of the files.

    Raises:
        UsageError: the folder cannot be made or cannot be written to.
    """
    return _write(out_dir, _content(comparison, context, config))


def write_portfolio(
    portfolio: Portfolio,
    out_dir: Path,
    context: ReportContext,
    config: dict[str, Any],
    parts: dict[str, tuple[ReportContext, dict[str, Any]]],
) -> list[Path]:
    """Write a backtest of several files: each in a folder below ``parts``, all together on top.

    The tables on top are those of the parts below each other, with a first column ``part``.

    Args:
        portfolio: what to write.
        out_dir: the folder; made when missing.
        context: title, facts and notes of the report on top.
        config: content of its config.json.
        parts: context and config of each part.

    Returns:
        The paths of the files on top.

    Raises:
        UsageError: the folder holds anything else, cannot be made or cannot be written to.
    """
    require_own_folder(out_dir)
    contents = {
        name: _content(portfolio.parts[name], described, {"kind": KIND, **its_config})
        for name, (described, its_config) in parts.items()
    }
    reports = {name: f"{PARTS}/{name}/{REPORT}" for name in contents}
    facts = {name: described.facts for name, (described, _) in parts.items()}
    results = {name: part.policy.result for name, part in portfolio.parts.items()}
    top = _Content(
        texts={
            KPIS: _json({"verdict": portfolio.verdict(), **portfolio.to_dict()}),
            "trades.csv": trades_csv(_stacked({k: r.trades for k, r in results.items()})),
            CONFIG: _json({"kind": KIND, **config}),
            "report.html": render_portfolio(portfolio, context, reports, facts),
        },
        tables={
            "equity.parquet": _stacked({k: r.equity for k, r in results.items()}),
            "decisions.parquet": _stacked({k: r.decisions for k, r in results.items()}),
        },
    )
    for name, content in contents.items():
        _write(out_dir / PARTS / name, content)
    drop_other_parts(out_dir, contents)
    return _write(out_dir, top)


def trades_csv(trades: pd.DataFrame) -> str:
    """Return the trades as CSV; times as ISO-8601 in UTC, numbers with ten digits."""
    text: str = trades.to_csv(
        index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.10g", lineterminator="\n"
    )
    return text


def _content(comparison: Comparison, context: ReportContext, config: dict[str, Any]) -> _Content:
    result = comparison.policy.result
    kpis = {"verdict": context.verdict or verdict(comparison), **comparison.to_dict()}
    kpis["seen_in_training"] = context.seen.to_dict() if context.seen is not None else None
    return _Content(
        texts={
            KPIS: _json(kpis),
            "trades.csv": trades_csv(result.trades),
            CONFIG: _json(config),
            "report.html": render_report(comparison, context),
        },
        tables={"equity.parquet": result.equity, "decisions.parquet": result.decisions},
    )


def _write(out_dir: Path, content: _Content) -> list[Path]:
    # the configuration first: it marks the folder as a backtest's, also when it is cut off
    names: Sequence[str] = sorted(FILES, key=lambda name: name != CONFIG)
    paths = [out_dir / name for name in names]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.name in content.texts:
                atomic_write_text(path, content.texts[path.name])
            else:
                with atomic_file(path) as temporary:
                    content.tables[path.name].to_parquet(temporary, index=False)
    except OSError as error:
        raise UsageError(f"cannot write to {out_dir}: {error.strerror or error}") from error
    return [out_dir / name for name in FILES]


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    frames = [table.assign(part=name) for name, table in tables.items()]
    whole = pd.concat(frames, ignore_index=True)
    return whole[["part", *(name for name in whole.columns if name != "part")]]


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def require_own_folder(out: Path) -> None:
    """Check that results may be written to ``out``: new, empty, or of an earlier backtest.

    Raises:
        UsageError: it is a file, or holds anything that no backtest wrote.
    """
    BACKTEST_OUTPUT.require(out)
    for part in sorted((out / PARTS).glob("*")):
        BACKTEST_OUTPUT.require(part)


def drop_other_parts(out: Path, kept: Collection[str]) -> None:
    """Remove the parts of an earlier backtest that are not among ``kept``.

    Call only where ``require_own_folder`` has passed.
    """
    folder = out / PARTS
    if not folder.is_dir():
        return
    for part in folder.iterdir():
        if part.name not in kept:
            shutil.rmtree(part)
    if not kept:
        folder.rmdir()

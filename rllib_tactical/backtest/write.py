"""Write the results of a backtest; a reader never sees half of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pandas as pd

from rllib_tactical.atomic import atomic_file, atomic_write_text
from rllib_tactical.backtest.evaluate import Evaluation
from rllib_tactical.backtest.report import ReportContext, render_report, verdict
from rllib_tactical.errors import UsageError

FILES: Final = (
    "kpis.json",
    "trades.csv",
    "equity.parquet",
    "decisions.parquet",
    "config.json",
    "report.html",
)
"""Everything that is written, in this order."""


def write_backtest(
    evaluation: Evaluation, out_dir: Path, context: ReportContext, config: dict[str, Any]
) -> list[Path]:
    """Write the files of ``FILES`` into a folder, replacing them one by one; return their paths.

    Everything is made before the first file is replaced, so that a failure to make one leaves the
    folder as it was. Other files in the folder stay.

    Args:
        evaluation: what to write.
        out_dir: the folder; made when missing.
        context: title and facts of the report, and what was seen in training.
        config: content of config.json: bundle, data, rules, instrument.

    Raises:
        UsageError: the folder cannot be made, or a file in it cannot be written.
    """
    result = evaluation.policy.result
    kpis = {"verdict": verdict(evaluation), **evaluation.to_dict()}
    kpis["seen_in_training"] = context.seen.to_dict() if context.seen is not None else None
    texts = {
        "kpis.json": _json(kpis),
        "trades.csv": trades_csv(result.trades),
        "config.json": _json(config),
        "report.html": render_report(evaluation, context),
    }
    tables = {"equity.parquet": result.equity, "decisions.parquet": result.decisions}
    paths = [out_dir / name for name in FILES]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.name in texts:
                atomic_write_text(path, texts[path.name])
            else:
                with atomic_file(path) as temporary:
                    tables[path.name].to_parquet(temporary, index=False)
    except OSError as error:
        raise UsageError(f"cannot write to {out_dir}: {error.strerror or error}") from error
    return paths


def trades_csv(trades: pd.DataFrame) -> str:
    """Return the trades as CSV; times as ISO-8601 in UTC, numbers with ten digits."""
    text: str = trades.to_csv(
        index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.10g", lineterminator="\n"
    )
    return text


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, allow_nan=False) + "\n"

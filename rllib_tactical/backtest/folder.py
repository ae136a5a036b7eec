"""Whose folder it is: results replace earlier results and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from rllib_tactical.errors import UsageError

CONFIG: Final = "config.json"
KIND: Final = "backtest"
PARTS: Final = "parts"

FILES: Final = (
    "kpis.json",
    "trades.csv",
    "equity.parquet",
    "decisions.parquet",
    CONFIG,
    "report.html",
)
"""Everything that a backtest writes, in this order; of several files also a folder ``parts``."""


def require_own_folder(out: Path) -> None:
    """Check that results may be written to ``out``: new, empty, or of an earlier backtest.

    Raises:
        UsageError: it is a file, or holds anything that no backtest wrote.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out must be a folder, found a file: {out}")
    if (out / PARTS).is_dir():
        for part in sorted((out / PARTS).iterdir()):
            require_own_folder(part)
    found = sorted(path.name for path in out.iterdir())
    strange = [name for name in found if name not in (*FILES, PARTS)]
    if strange or (found and _kind(out / CONFIG) != KIND):
        what = ", ".join((strange or found)[:3])
        raise UsageError(
            f"--out: {out} holds something that no backtest wrote ({what}): name another folder"
        )


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


def _kind(path: Path) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("kind") if isinstance(values, dict) else None

"""The trials among which a policy was chosen: their daily P&L, or at least their Sharpe ratios.

A file of trials has one row per day and one column per trial with its P&L in dollars, as CSV or
Parquet; a column named ``date`` is not a trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import DataError, UnreadableError
from rllib_tactical.statistics.sharpe import plain_sharpe

DATE = "date"


@dataclass(frozen=True, slots=True)
class Trials:
    """Daily P&L (T, N) in dollars of N trials, on the same T days."""

    names: tuple[str, ...]
    pnl: FloatArray

    @property
    def sharpes(self) -> FloatArray:
        """Sharpe ratios per day (N,); 0 for a trial that never moved."""
        return np.array([plain_sharpe(column) or 0.0 for column in self.pnl.T])

    def frame(self) -> pd.DataFrame:
        """Return the trials as a table that ``read_trials`` reads."""
        return pd.DataFrame(self.pnl, columns=list(self.names))


def read_trials(path: Path) -> Trials:
    """Read a file of trials.

    Raises:
        UnreadableError: the file cannot be read or is neither CSV nor Parquet.
        DataError: no trial, too few days, or a cell that is not a finite number.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            table = pd.read_csv(path)
        else:
            raise UnreadableError(f"--trials: {path} must end in .csv, .csv.gz or .parquet")
    except (OSError, ValueError) as error:
        raise UnreadableError(f"--trials: {path} cannot be read: {error}") from error
    table = table.drop(columns=[DATE], errors="ignore")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    bad = [str(name) for name in table if not np.isfinite(numbers[name].to_numpy(float)).all()]
    if bad:
        raise DataError(f"--trials: {path}: column {bad[0]} holds what is not a finite number")
    if table.shape[1] < 1 or len(table) < 2:
        raise DataError(
            f"--trials: {path} needs a column per trial and at least 2 days, found "
            f"{table.shape[1]} columns and {len(table)} rows"
        )
    return Trials(tuple(map(str, table.columns)), numbers.to_numpy(np.float64))

"""The best trial of a sweep as a policy bundle, with where it comes from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.run_folder import RLLIB
from rllib_tactical.artifacts.storage import Mirror, Place
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.sweep.folder import RESULTS, TRIALS, read_plan, trial_name
from rllib_tactical.sweep.history import TrialHistory, best_trial, read_history


@contextmanager
def trial_results(sweep: Place, number: int) -> Iterator[Path]:
    """Yield a folder with everything of a trial but RLlib's own state; changes are kept there."""
    place = sweep / TRIALS / trial_name(number)
    if place.is_local:
        yield place.local
        return
    local = Path(tempfile.mkdtemp(prefix="tactical-trial-"))
    mirror = Mirror(local, place)
    try:
        mirror.pull(leave_out=RLLIB)
        yield local
        mirror.push()
    finally:
        shutil.rmtree(local, ignore_errors=True)


def lineage(plan: dict[str, Any], trial: TrialHistory, trials: int) -> dict[str, Any]:
    """Return what a bundle remembers of the sweep that it was chosen from."""
    sweep = plan["sweep"]
    return {
        "identity": plan["identity"],
        "description": sweep["description"],
        "search": sweep["search"],
        "scheduler": sweep["scheduler"],
        "trial": trial.number,
        "trials": trials,
        "params": trial.params,
        "validation_net_pnl": trial.score,
    }


def export_trial(
    sweep: Place,
    out: Path,
    symbol: str | None = None,
    number: int | None = None,
    parent: Path | None = None,
) -> tuple[Bundle, int]:
    """Export the best trial of a sweep, or a named one, by its best checkpoint.

    Args:
        sweep: the sweep's folder.
        out: the bundle folder to make.
        symbol: the instrument that the bundle decides for; needed when the sweep had several.
        number: which trial; the one with the best validation net P&L when None.
        parent: the bundle that this one follows.

    Returns:
        The bundle and the number of its trial.

    Raises:
        TrainingError: no trial has a result yet.
        UsageError: no sweep there, or no such trial with a result; as ``export_run``.
    """
    plan = read_plan(sweep)
    trials = read_history(sweep.read(RESULTS).decode("utf-8", errors="replace").splitlines())
    tried = [trial for trial in trials.values() if trial.score is not None]
    best = best_trial(tried)
    if best is None:
        raise TrainingError(f"{sweep}: no trial has a result yet")
    if number is not None:
        found = [trial for trial in tried if trial.number == number]
        if not found:
            raise UsageError(f"--trial: {sweep} has no trial {number} with a result")
        best = found[0]
    with trial_results(sweep, best.number) as folder:
        return (
            export_run(folder, out, symbol, parent, sweep=lineage(plan, best, len(tried))),
            best.number,
        )

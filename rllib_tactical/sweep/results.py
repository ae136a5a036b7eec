"""What a sweep comes to: daily P&L of all trials, statistics, the best one's bundle, the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.artifacts.atomic import atomic_file, atomic_write_text
from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.run_folder import RunFolder, config_of
from rllib_tactical.artifacts.storage import Place
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import TrainingError
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.statistics.sharpe import days_per_year
from rllib_tactical.statistics.significance import Series, Significance, judge, p_text
from rllib_tactical.statistics.trials import DATE, Trials
from rllib_tactical.sweep.best import export_trial, trial_results
from rllib_tactical.sweep.folder import BUNDLE, REPORT, SUMMARY, TABLE, SweepFolder, read_plan
from rllib_tactical.sweep.history import TrialHistory, best_trial
from rllib_tactical.sweep.hparams import HPARAMS, write_hparams
from rllib_tactical.sweep.importance import importances
from rllib_tactical.sweep.pbt_exploit import ABANDONED, DAILY, write_daily
from rllib_tactical.sweep.report import render_sweep
from rllib_tactical.sweep.shared_market import SharedMarket
from rllib_tactical.sweep.spec import SweepSpec

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The best trial, its bundle and what the days say of it.

    ``bundle`` is None with several instruments and where the best trial makes no trade.
    """

    best: TrialHistory
    bundle: Bundle | None
    significance: Significance | None
    importance: dict[str, float] | None


def conclude(spec: SweepSpec, folder: SweepFolder, shared: SharedMarket, log: Log) -> Conclusion:
    """Write the table of trials, the bundle, the summary and the report.

    Raises:
        TrainingError: no trial has a result.
    """
    trials = folder.history
    best = best_trial(trials.values())
    if best is None:
        reasons = sorted({trial.reason for trial in trials.values() if trial.reason})
        raise TrainingError(f"no trial has a result: {'; '.join(reasons) or 'none has started'}")
    tried = [n for n, trial in trials.items() if trial.score is not None]
    log(f"daily P&L of {len(tried)} trials on the validation bars")
    table = trials_table(folder.place, tried, shared)
    with atomic_file(folder.local / TABLE) as temporary:
        table.reset_index(names=DATE).to_parquet(temporary, index=False)
    folder.publish(TABLE)
    bundle = None
    if len(shared.sources) == 1 and best.traded:
        bundle, _ = export_trial(folder.place, folder.local / BUNDLE)
        folder.publish(BUNDLE)
    instruments = [part.history.instrument for part in shared.handle.open().parts]
    significance = judge_best(best, table, spec.config, instruments)
    found = Conclusion(best, bundle, significance, importances(spec.domains, list(trials.values())))
    write_object(folder.local / SUMMARY, summary(spec, folder, found))
    folder.publish(SUMMARY)
    write_hparams(folder.local / HPARAMS, trials.values())
    folder.publish(HPARAMS)
    page = render_sweep(spec, read_plan(folder.place), trials, significance, found.importance)
    atomic_write_text(folder.local / REPORT, page)
    folder.publish(REPORT)
    return found


def trials_table(place: Place, numbers: list[int], shared: SharedMarket) -> pd.DataFrame:
    """Return daily P&L of trials: a row per day, a column per trial and temperature scale.

    What members of a population gave up has columns of its own. Each trial is traded by a Ray
    task, unless its run folder has the table already.
    """
    import ray

    task = ray.remote(num_cpus=1, max_retries=2)(_tables)
    waiting = [task.remote(place, number, shared) for number in numbers]
    columns: dict[str, pd.Series[float]] = {}
    for number, tables in zip(numbers, ray.get(waiting), strict=True):
        for label, table in tables:
            for scale in table:
                columns[f"trial {number}{label}, scale {scale}"] = table[scale]
    return pd.DataFrame(columns).sort_index().fillna(0.0)


def _tables(place: Place, number: int, shared: SharedMarket) -> list[tuple[str, pd.DataFrame]]:
    limit_threads()
    with trial_results(place, number) as path:
        folder = RunFolder(path)
        config = config_of(folder.read(), f"trial {number}: run.json")
        own = write_daily(folder, config, shared.market(config))
        found = [] if own is None else [("", pd.read_parquet(own))]
        for old in path.glob(f"{DAILY}-*.parquet"):
            if old != own:
                old.unlink()  # of a checkpoint that was the best before the trial went on
        for given_up in sorted(path.glob(f"{ABANDONED}-*.parquet")):
            iteration = int(given_up.stem.rpartition("-")[2])
            found.append((f" given up after {iteration}", pd.read_parquet(given_up)))
    return found


def judge_best(
    best: TrialHistory,
    table: pd.DataFrame,
    config: TacticalConfig,
    instruments: Sequence[Instrument],
) -> Significance | None:
    """Judge the best trial by the days it was chosen by, deflated by all trials.

    Returns on each day are those on the accounts' first equity; None with fewer than two days, or
    where the trial has no column: a member of a population whose best was given up later.
    """
    result = best.best
    if result is None or len(table) < 2:
        return None
    name = f"trial {best.number}, scale {result['temperature_scale']:g}"
    if name not in table:
        return None
    pnl = table[name].to_numpy(np.float64)
    returns = pnl / (config.risk.initial_equity * len(instruments))
    trials = Trials(tuple(table.columns), table.to_numpy(np.float64))
    year = days_per_year({instrument.calendar for instrument in instruments})
    policy = Series("policy", f"Trial {best.number}", pnl, returns, days_per_year=year)
    return judge(policy, [], int(result["trades"]), trials)


def summary(spec: SweepSpec, folder: SweepFolder, found: Conclusion) -> dict[str, Any]:
    """Return everything as plain values."""
    plan = read_plan(folder.place)
    return {
        "identity": plan["identity"],
        "sweep": spec.describe(),
        "objective": "best validation net P&L in dollars by the serving rule",
        "best_trial": found.best.number,
        "best_net_pnl": found.best.score,
        "bundle_id": None if found.bundle is None else found.bundle.bundle_id,
        "statistics": None if found.significance is None else found.significance.to_dict(),
        "importance": found.importance,
        "trials": [_row(trial) for trial in folder.history.values()],
    }


def _row(trial: TrialHistory) -> dict[str, Any]:
    best = trial.best or {}
    return {
        "trial": trial.number,
        "status": trial.status,
        "reason": trial.reason,
        "params": trial.params,
        "net_pnl": trial.score,
        "trades": best.get("trades"),
        "temperature_scale": best.get("temperature_scale"),
        "best_iteration": best.get("iteration"),
        "iterations": max(trial.results, default=0),
        "env_steps": max((row["env_steps"] for row in trial.curve), default=0),
        "seconds": trial.seconds,
        "changes": trial.changes,
    }


def result_lines(found: Conclusion, folder: SweepFolder) -> list[str]:
    """Return the end of a sweep as lines of text."""
    best = found.best
    head = f"{'trial':>5} {'validation':>12} {'trades':>7} {'iterations':>11}  values"
    ranked = sorted(
        (trial for trial in folder.history.values() if trial.score is not None),
        key=lambda trial: -(trial.score or 0.0),
    )
    lines = [head, "-" * len(head)]
    for trial in ranked[:10]:
        row = _row(trial)
        values = ", ".join(f"{key} {short(value)}" for key, value in trial.params.items())
        lines.append(
            f"{trial.number:>5} {row['net_pnl']:>12,.0f} {row['trades']:>7} "
            f"{row['iterations']:>11}  {values}"
        )
    if len(ranked) > len(lines) - 2:
        lines.append(f"... and {len(ranked) - len(lines) + 2} more")
    failed = sum(trial.status == "failed" for trial in folder.history.values())
    if failed:
        lines.append(f"{failed} trials failed; {SUMMARY} says why")
    sizes = folder.size_bytes().values()
    if sizes:
        lines.append(
            f"disk: {sum(sizes) / 1e6:,.1f} MB for {len(sizes)} trials, "
            f"{max(sizes) / 1e6:,.1f} MB for the largest"
        )
    if not best.traded:
        lines.append(
            "the best is to make no trade: no trial earns anything on the validation bars by the "
            f"serving rule, no bundle is made; tactical export {folder.place} --out DIR makes one "
            f"of trial {best.number} all the same"
        )
        lines.append(f"report {folder.place}/{REPORT}")
        return lines
    lines.append(
        f"best: trial {best.number}, ${best.score:,.0f} on the validation bars that chose it"
    )
    if found.significance is not None and found.significance.p_value is not None:
        text = (
            f"deflated p {p_text(found.significance.p_value)} "
            f"over {found.significance.trials} columns"
        )
        if found.significance.overfitting is not None:
            text += f", probability of overfitting {found.significance.overfitting:.0%}"
        lines.append(text)
    if found.bundle is not None:
        lines.append(f"bundle {found.bundle.bundle_id[:12]} in {folder.place}/{BUNDLE}")
    else:
        lines.append(f"make a bundle: tactical export {folder.place} --instrument SYMBOL --out DIR")
    lines.append(f"evaluate it on unseen bars: tactical backtest --trials {folder.place}/{TABLE}")
    lines.append(f"report {folder.place}/{REPORT}")
    return lines


def short(value: Any) -> str:
    """Return a value of a trial as a short text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

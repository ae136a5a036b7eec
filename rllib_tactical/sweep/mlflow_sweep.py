"""A sweep in an MLflow store: a run for it, and one below it for each trial."""

from __future__ import annotations

from rllib_tactical.artifacts.json_file import read_object
from rllib_tactical.reporting.mlflow_store import MlflowStore
from rllib_tactical.sweep.folder import REPORT, SUMMARY, SweepFolder, trial_name
from rllib_tactical.sweep.history import FAILED

CURVE = ("net_pnl", "trades")
"""What is logged of each validation, at the account steps of the trial."""


def log_sweep(store: MlflowStore, folder: SweepFolder) -> str:
    """Log a sweep that has ended; return the id of its run.

    A sweep that goes on and ends again has another run then.
    """
    summary = read_object(folder.local / SUMMARY)
    rows = {row["trial"]: row for row in summary["trials"]}
    best = rows[summary["best_trial"]]
    name = folder.place.path.rstrip("/").rpartition("/")[2]
    run = store.log_result(
        "tune",
        name,
        params={"identity": summary["identity"], "sweep": summary["sweep"]},
        result={
            "best_net_pnl": summary["best_net_pnl"],
            "best_trial": summary["best_trial"],
            "trades": best["trades"],
            "trials": len(rows),
            "failed": sum(row["status"] == FAILED for row in rows.values()),
            "statistics": summary["statistics"] or {},
            "importance": summary["importance"] or {},
        },
        files=[folder.local / REPORT, folder.local / SUMMARY],
    )
    for number, trial in folder.history.items():
        row = rows[number]
        store.log_result(
            "tune",
            f"{name}-{trial_name(number)}",
            params=trial.params,
            result={"best": {k: row[k] for k in ("net_pnl", "trades", "seconds")}},
            parent=run,
            points=[
                (key, float(result[key]), int(result["env_steps"]))
                for result in trial.curve
                for key in CURVE
            ],
            status="FAILED" if trial.status == FAILED else "FINISHED",
        )
    return run

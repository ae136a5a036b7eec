"""What happened in a sweep: every validated result of every trial, and how each trial ended.

The driver writes one JSON object per line as it happens. What is read again after a crash is what
was written; a line cut short is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

STARTED: Final = "started"
RESULT: Final = "result"
ENDED: Final = "ended"

FINISHED: Final = "finished"
STOPPED: Final = "stopped early"
FAILED: Final = "failed"
UNFINISHED: Final = "unfinished"


@dataclass
class TrialHistory:
    """One trial: its values by key, results by iteration, how it ended and why it failed.

    ``changes``: of population based training, {"iteration", "from", "params"} for each time that
    the trial took over another one's weights.
    """

    number: int
    params: dict[str, Any] = field(default_factory=dict)
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    status: str = UNFINISHED
    reason: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The results by iteration."""
        return [self.results[iteration] for iteration in sorted(self.results)]

    @property
    def best(self) -> dict[str, Any] | None:
        """The result with the best validation net P&L, the first of equals."""
        return max(self.curve, key=lambda row: float(row["net_pnl"]), default=None)

    @property
    def score(self) -> float | None:
        """Best validation net P&L in dollars; None before the first result."""
        best = self.best
        return None if best is None else float(best["net_pnl"])

    @property
    def traded(self) -> bool:
        """Whether the best result made a trade by the serving rule."""
        return bool((self.best or {}).get("trades"))

    @property
    def seconds(self) -> float:
        """Training time until the last result."""
        return max((float(row["seconds"]) for row in self.curve), default=0.0)


def read_history(lines: Iterable[str]) -> dict[int, TrialHistory]:
    """Return the trials by number from the lines of a results file."""
    trials: dict[int, TrialHistory] = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "trial" in event:
            apply_event(trials, event)
    return dict(sorted(trials.items()))


def apply_event(trials: dict[int, TrialHistory], event: dict[str, Any]) -> None:
    """Note one event. A trial that has ended stays so, however often it is gone through again."""
    trial = trials.setdefault(event["trial"], TrialHistory(event["trial"]))
    if event["event"] == STARTED:
        trial.params = trial.params or event["params"]
    elif event["event"] == RESULT:
        if event["params"] != trial.params and event.get("taken_from") is not None:
            trial.changes.append(
                {
                    "iteration": event["taken_at"],
                    "from": event["taken_from"],
                    "params": event["params"],
                }
            )
        trial.params = event["params"]
        trial.results[event["iteration"]] = event
    elif event["event"] == ENDED and trial.status == UNFINISHED:
        trial.status, trial.reason = event["status"], event.get("reason")


def best_trial(trials: Iterable[TrialHistory]) -> TrialHistory | None:
    """Return the trial with the best validation net P&L, the first of equals; None without any."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)

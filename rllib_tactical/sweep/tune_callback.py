"""What the driver of a sweep notes and prints while trials run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from rllib_tactical.sweep.folder import SweepFolder
from rllib_tactical.sweep.history import (
    ENDED,
    FAILED,
    FINISHED,
    RESULT,
    STARTED,
    STOPPED,
    UNFINISHED,
    best_trial,
)
from rllib_tactical.sweep.optuna_study import STUDY, StudyFile
from rllib_tactical.sweep.spec import SweepSpec
from rllib_tactical.sweep.trial import CURRENT, ERROR, TIME, number_of


class Recorder(Callback):  # type: ignore[misc,unused-ignore]
    """Writes every result into the sweep's folder and prints a line for each that is new."""

    def __init__(self, spec: SweepSpec, folder: SweepFolder, log: Callable[[str], None]) -> None:
        self._spec, self._folder, self._log = spec, folder, log
        self._known = {n: set(trial.results) for n, trial in folder.history.items()}
        self._begun = time.monotonic()
        self._ended_before = sum(t.status != UNFINISHED for t in folder.history.values())
        self._study = StudyFile(folder.local / STUDY, spec.domains)
        for trial in folder.history.values():
            self._study.add(trial)
        folder.publish(STUDY)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note the values of a trial."""
        number = number_of(trial.trial_id, trial.config)
        if number not in self._folder.history:
            self._folder.append({"event": STARTED, "trial": number, "params": self._values(trial)})

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record a result; a repeated one is neither written nor printed again."""
        number = int(result["number"])
        known = self._known.setdefault(number, set())
        if ERROR in result or (result[TIME] in known and self._spec.scheduler != "pbt"):
            return
        known.add(result[TIME])
        event = {
            "event": RESULT,
            "trial": number,
            "params": self._spec.domains.decoded(json.loads(result["drawn"])),
        }
        for name in (TIME, CURRENT, "trades", "temperature_scale", "env_steps", "train_pnl"):
            event[name] = result[name]
        event["seconds"] = result["seconds"]
        for name in ("taken_from", "taken_at"):
            if name in result:
                event[name] = result[name]
        self._folder.append(event)
        of = self._spec.config.training.iterations
        self._log(
            f"trial {number}: iteration {result[TIME]}/{of}, validation "
            f"${result[CURRENT]:,.0f} in {result['trades']} trades"
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note how a trial ended: by itself, by the scheduler, or refused."""
        number = number_of(trial.trial_id, trial.config)
        last = trial.last_result or {}
        if ERROR in last:
            self._ended(number, FAILED, str(last[ERROR]))
            return
        history = self._folder.history[number]
        reached = max(history.results, default=0)
        ran_out = reached >= self._spec.config.training.iterations
        self._ended(number, FINISHED if ran_out else STOPPED, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a trial that was lost more often than it may be."""
        error = trial.get_pickled_error()
        lines = str(error or "its process was lost").strip().splitlines()
        reason = lines[-1] if lines else type(error).__name__
        self._ended(number_of(trial.trial_id, trial.config), FAILED, reason)

    def _ended(self, number: int, status: str, reason: str | None) -> None:
        before = self._folder.history[number].status if number in self._folder.history else None
        if before not in (None, UNFINISHED):
            return
        self._folder.append({"event": ENDED, "trial": number, "status": status, "reason": reason})
        self._study.add(self._folder.history[number])
        self._folder.publish(STUDY)
        done = sum(t.status != UNFINISHED for t in self._folder.history.values())
        new = max(1, done - self._ended_before)
        left = (time.monotonic() - self._begun) / new * (self._spec.trials - done)
        best = best_trial(self._folder.history.values())
        line = f"trial {number} {status}" + (f": {reason}" if reason else "")
        if best is not None:
            line += f"; best is trial {best.number} with ${best.score:,.0f}"
        self._log(
            f"{line}; {done} of {self._spec.trials} done, "
            f"left {int(left) // 60}:{int(left) % 60:02d}"
        )

    def _values(self, trial: Any) -> dict[str, Any]:
        return self._spec.domains.decoded(trial.config)

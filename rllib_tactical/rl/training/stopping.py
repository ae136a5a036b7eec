"""When a run ends before its last iteration."""

from __future__ import annotations

import signal
import threading
from typing import Any

from rllib_tactical.artifacts.run_folder import score_of
from rllib_tactical.config.training import TrainingConfig


class StopRules:
    """The criteria of ``training.stop``, and the number of validations without improvement.

    Only validations that the configuration schedules count. So a run that was interrupted, and
    validated then, stops at the same iteration as an uninterrupted one.
    """

    def __init__(self, training: TrainingConfig) -> None:
        self._stop, self._best_by = training.stop, training.validation.best_by
        self._patience = training.patience
        self._best: float | None = None
        self._newest: float | None = None
        self._without_better = 0

    def take(self, validation: dict[str, Any]) -> None:
        """Take a scheduled validation of the last stage into account."""
        self._newest = score_of(validation, self._best_by)
        if self._newest is not None and (self._best is None or self._newest > self._best):
            self._best, self._without_better = self._newest, 0
        elif (
            self._newest is not None or self._best_by != "reward"
        ):  # unknown in the first validations
            self._without_better += 1

    def of_validation(self) -> str | None:
        """Return the reason to end that the validations give, or None."""
        stop = self._stop
        if stop.target is not None and self._newest is not None and self._newest >= stop.target:
            return f"validation {self._best_by} {self._newest:,.6g} reached {stop.target:,.6g}"
        if self._patience and self._without_better >= self._patience:
            return f"{self._without_better} validations brought no better {self._best_by}"
        return None

    def of_progress(self, *, converged: bool, seconds: float, env_steps: int) -> str | None:
        """Return the reason to end that the progress of the run gives, or None."""
        stop = self._stop
        if stop.converged and converged:
            return "episode rewards have converged"
        if stop.max_env_steps is not None and env_steps >= stop.max_env_steps:
            return f"{env_steps:,} steps are done"
        if stop.max_seconds is not None and seconds >= stop.max_seconds:
            return f"{seconds:,.0f} s have passed"
        return None

    def get_state(self) -> dict[str, Any]:
        """Return plain values for ``set_state``."""
        return {
            "best_by": self._best_by,
            "best": self._best,
            "newest": self._newest,
            "without_better": self._without_better,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``; start anew when it was taken with another metric."""
        if state["best_by"] != self._best_by:
            return
        self._best, self._newest = state["best"], state["newest"]
        self._without_better = state["without_better"]


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a flag, so that no iteration is interrupted."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

"""Training in an MLflow store: parameters, metrics and the report. The package is optional."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.run_folder import StartPoint
from rllib_tactical.errors import UsageError
from rllib_tactical.reporting.mlflow_store import METRICS_PER_CALL, MlflowStore, first_sentence
from rllib_tactical.rl.tracking.report import REPORT
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingEnd, TrainingRun

RUN_FILE: Final = "mlflow.json"
TRY_AGAIN_AFTER_S: Final = 300.0
"""Pause after a failure of the store: its client may take minutes to give up each time."""


STATUS: Final = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MlflowLogger(TrainingCallback):
    """Logs a training run to one MLflow run; a resumed training continues the same one.

    Args:
        uri: see ``MlflowStore``.
        log: prints a line when the store fails during training.

    Raises:
        TrainingError: MLflow is not installed.
        UsageError: the store cannot be opened.
    """

    def __init__(self, uri: str, log: Callable[[str], Any] = print) -> None:
        self._store, self._log = MlflowStore(uri), log
        self._client = self._store.client
        self._failed_at: float | None = None

    def on_start(self, run: TrainingRun) -> None:
        """Open the MLflow run and drop its points of later iterations.

        Raises:
            UsageError: the run cannot be opened. Later failures of the store are only logged.
        """
        self._folder = run.folder
        try:
            self._run = self._open_run()
        except self._store.failures as error:
            raise UsageError(f"--mlflow {self._store.uri}: {first_sentence(error)}") from error
        self._drop_after(run.start)

    def _drop_after(self, start: StartPoint) -> None:
        """Replace the run by one without the points after ``start``, if it has any.

        MLflow cannot remove single points. It moves the replaced run to its trash.
        """
        from mlflow.entities import Metric

        with self._failures_logged():
            old = self._client.get_run(self._run)
            points = [
                Metric(point.key, point.value, point.timestamp, point.step)
                for name in old.data.metrics
                for point in self._client.get_metric_history(self._run, name)
            ]
            kept = [point for point in points if point.step <= start.env_steps]
            if len(kept) == len(points):
                return
            new = self._create_run(
                old.info.run_name, start_time=old.info.start_time, tags=old.data.tags
            )
            for first in range(0, len(kept), METRICS_PER_CALL):
                self._client.log_batch(new, metrics=kept[first : first + METRICS_PER_CALL])
            self._run = self._remember(new)
            self._client.delete_run(old.info.run_id)

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Log the numbers of an iteration at its account steps, unless it failed recently."""
        if self._failed_at is not None and time.monotonic() - self._failed_at < TRY_AGAIN_AFTER_S:
            return
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), int(row["env_steps"])
        metrics = [
            Metric(name, float(value), now, step)
            for name, value in row.items()
            if isinstance(value, int | float)
        ]
        with self._failures_logged():
            self._client.log_batch(self._run, metrics=metrics)
            self._failed_at = None

    def on_end(self, run: TrainingRun, end: TrainingEnd) -> None:
        """Attach the report and set the run's status."""
        with self._failures_logged():
            report = run.folder.path / REPORT
            if report.is_file():
                self._client.log_artifact(self._run, str(report))
            self._client.set_terminated(self._run, STATUS[end.status])

    @contextmanager
    def _failures_logged(self) -> Iterator[None]:
        """Log a failure of the store instead of raising it: the run folder has all rows."""
        try:
            yield
        except self._store.failures as error:
            if self._failed_at is None:
                self._log(f"MLflow failed, training continues without it: {first_sentence(error)}")
            self._failed_at = time.monotonic()

    def _open_run(self) -> str:
        note = self._folder.path / RUN_FILE
        if note.is_file():
            known = read_object(note)
            if known.get("uri") == self._store.uri:
                try:
                    self._client.update_run(known["run_id"], status="RUNNING")
                    return str(known["run_id"])
                except self._store.failures:
                    pass  # the store was emptied meanwhile: start a new run
        return self._remember(self._create_run(self._folder.path.name))

    def _create_run(self, name: str, **more: Any) -> str:
        """Create an MLflow run with the parameters of the run folder."""
        return self._store.create_run(name, self._folder.read()["config"], **more)

    def _remember(self, run_id: str) -> str:
        """Record in the run folder which MLflow run a resumed training continues."""
        write_object(self._folder.path / RUN_FILE, {"uri": self._store.uri, "run_id": run_id})
        return run_id

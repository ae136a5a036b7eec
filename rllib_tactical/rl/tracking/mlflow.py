"""Training in an MLflow store: parameters, metrics and the report. The package is optional."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.run_folder import StartPoint
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.rl.tracking.report import REPORT
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingEnd, TrainingRun

EXPERIMENT: Final = "rllib-tactical"
RUN_FILE: Final = "mlflow.json"
SQLITE: Final = "sqlite:///"
PARAMS_PER_CALL: Final = 100
METRICS_PER_CALL: Final = 1000
"""MLflow takes no more of them in one call."""
TRY_AGAIN_AFTER_S: Final = 300.0
"""Pause after a failure of the store: its client may take minutes to give up each time."""


STATUS: Final = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MlflowLogger(TrainingCallback):
    """Logs a training run to one MLflow run; a resumed training continues the same one.

    Args:
        uri: tracking URI: a server's address or ``sqlite:///FILE``. The files of a SQLite store go
            into ``mlflow-artifacts`` beside the database.
        log: prints a line when the store fails during training.

    Raises:
        TrainingError: MLflow is not installed.
        UsageError: the store cannot be opened.
    """

    def __init__(self, uri: str, log: Callable[[str], Any] = print) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise TrainingError(
                "--mlflow needs a package that is not installed: "
                'pip install -c constraints.txt -e ".[mlflow]"'
            ) from error
        self._uri, self._failure, self._log = uri, MlflowException, log
        self._failed_at: float | None = None
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_experiment()
        except (MlflowException, ImportError) as error:
            raise UsageError(f"--mlflow {uri}: {_first_sentence(error)}") from error

    def on_start(self, run: TrainingRun) -> None:
        """Open the MLflow run and drop its points of later iterations.

        Raises:
            UsageError: the run cannot be opened. Later failures of the store are only logged.
        """
        self._folder = run.folder
        try:
            self._run = self._open_run()
        except self._failure as error:
            raise UsageError(f"--mlflow {self._uri}: {_first_sentence(error)}") from error
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
        except (self._failure, OSError) as error:  # OSError: from uploads of files
            if self._failed_at is None:
                self._log(f"MLflow failed, training continues without it: {_first_sentence(error)}")
            self._failed_at = time.monotonic()

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = None
        if self._uri.startswith(SQLITE):
            database = Path(self._uri.removeprefix(SQLITE)).absolute()
            place = (database.parent / "mlflow-artifacts").as_uri()
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))

    def _open_run(self) -> str:
        note = self._folder.path / RUN_FILE
        if note.is_file():
            known = read_object(note)
            if known.get("uri") == self._uri:
                try:
                    self._client.update_run(known["run_id"], status="RUNNING")
                    return str(known["run_id"])
                except self._failure:
                    pass  # the store was emptied meanwhile: start a new run
        return self._remember(self._create_run(self._folder.path.name))

    def _create_run(self, name: str, **more: Any) -> str:
        """Create an MLflow run with the parameters of the run folder."""
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=name, **more)
        run_id = str(run.info.run_id)
        params = [Param(name, text) for name, text in _flat(self._folder.read()["config"])]
        for first in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=params[first : first + PARAMS_PER_CALL])
        return run_id

    def _remember(self, run_id: str) -> str:
        """Record in the run folder which MLflow run a resumed training continues."""
        write_object(self._folder.path / RUN_FILE, {"uri": self._uri, "run_id": run_id})
        return run_id


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value)


def _first_sentence(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split(". ")[0].splitlines()[0]

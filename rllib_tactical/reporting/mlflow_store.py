"""An MLflow store: experiment, runs and results of commands. The package is optional."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rllib_tactical.errors import TrainingError, UsageError

EXPERIMENT: Final = "rllib-tactical"
SQLITE: Final = "sqlite:///"
COMMAND: Final = "tactical.command"
"""Tag: which command a run is of."""

PARENT: Final = "mlflow.parentRunId"
PARAMS_PER_CALL: Final = 100
METRICS_PER_CALL: Final = 1000
"""MLflow takes no more of them in one call."""

_NO_NAME: Final = re.compile(r"[^\w\-. /]")
_LONGEST_NAME: Final = 250


class MlflowStore:
    """The experiment of this program in an MLflow store.

    Args:
        uri: tracking URI: a server's address or ``sqlite:///FILE``. The files of a SQLite store go
            into ``mlflow-artifacts`` beside the database.

    Raises:
        TrainingError: MLflow is not installed.
        UsageError: the store cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise TrainingError(
                "--mlflow needs a package that is not installed: "
                'pip install -c constraints.txt -e ".[mlflow]"'
            ) from error
        self.uri = uri
        self.failures: tuple[type[Exception], ...] = (MlflowException, OSError)
        """What a store that fails raises; OSError: from uploads of files."""
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.experiment = self._find_experiment()
        except (MlflowException, ImportError) as error:
            raise UsageError(f"--mlflow {uri}: {first_sentence(error)}") from error

    def create_run(self, name: str, params: Mapping[str, Any], **more: Any) -> str:
        """Create a run with nested values as its parameters; return its id."""
        from mlflow.entities import Param

        run = self.client.create_run(self.experiment, run_name=name, **more)
        run_id = str(run.info.run_id)
        given = [Param(key, text) for key, text in flat(params)]
        for first in range(0, len(given), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=given[first : first + PARAMS_PER_CALL])
        return run_id

    def log_points(self, run_id: str, points: Iterable[tuple[str, float, int]]) -> None:
        """Add points to a run: name, value and step; values that are no numbers are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, step)
            for name, value, step in points
            if math.isfinite(value)
        ]
        for first in range(0, len(metrics), METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=metrics[first : first + METRICS_PER_CALL])

    def log_result(
        self,
        command: str,
        name: str,
        *,
        params: Mapping[str, Any],
        result: Mapping[str, Any],
        files: Iterable[Path] = (),
        folders: Mapping[str, Path] | None = None,
        parent: str | None = None,
        points: Iterable[tuple[str, float, int]] = (),
        status: str = "FINISHED",
    ) -> str:
        """Log what a command came to as a run of its own; return the run's id.

        Args:
            command: its name.
            name: of the run.
            params: what it was given.
            result: nested values, of which the numbers become metrics.
            files: to be kept with it.
            folders: the same, by the name that each gets.
            parent: id of the run that this one is a part of.
            points: results on the way: name, value and step.
            status: of the run.
        """
        tags = {COMMAND: command} | ({} if parent is None else {PARENT: parent})
        run_id = self.create_run(name, params, tags=tags)
        self.log_points(run_id, points)
        self.log_points(run_id, ((key, value, 0) for key, value in numbers(result)))
        for path in files:
            self.client.log_artifact(run_id, str(path))
        for place, folder in (folders or {}).items():
            self.client.log_artifacts(run_id, str(folder), place)
        self.client.set_terminated(run_id, status)
        return run_id

    def _find_experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = None
        if self.uri.startswith(SQLITE):
            database = Path(self.uri.removeprefix(SQLITE)).absolute()
            place = (database.parent / "mlflow-artifacts").as_uri()
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=place))


def opened_store(uri: str | None) -> MlflowStore | None:
    """Return the store of a command's option, None without it.

    Raises:
        TrainingError: see ``MlflowStore``.
        UsageError: see ``MlflowStore``.
    """
    return None if uri is None else MlflowStore(uri)


def logged(
    store: MlflowStore | None, log: Callable[[str], Any], action: Callable[[MlflowStore], Any]
) -> None:
    """Log a result that is safe in a folder already: a store that fails is said, not raised."""
    if store is None:
        return
    try:
        action(store)
    except store.failures as error:
        log(f"MLflow failed, the results are in the folder only: {first_sentence(error)}")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as dotted names and JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value)


def numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers among nested values by dotted names that MLflow takes."""
    for name, value in values.items():
        key = _NO_NAME.sub("_", f"{prefix}{name}")[:_LONGEST_NAME]
        if isinstance(value, Mapping):
            yield from numbers(value, f"{key}.")
        elif isinstance(value, int | float):
            yield key, float(value)


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message."""
    return (str(error).strip() or type(error).__name__).split(". ")[0].splitlines()[0]

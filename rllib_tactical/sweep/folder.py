"""The folder of a sweep, on local disk or at a URI.

    sweep.json        what the sweep is: settings, data, instruments
    results.jsonl     what happened: every validated result, how every trial ended
    trials/NNNN/      the run folder of each trial, with trial.json beside run.json
    trials.parquet    daily P&L of all trials on the validation bars, for `backtest --trials`
    summary.json      every trial with its values and metrics, the statistics
    report.html       the same to look at
    bundle/           the best trial as a policy bundle
    study.journal     the trials as a study of Optuna
    hparams/          the trials for TensorBoard's page of hyperparameters
    tune/             Ray Tune's own files while a session runs

The driver writes all but the trials, which their workers write.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.output_folder import ResumableOutput
from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.artifacts.storage import Mirror, Place
from rllib_tactical.data.interpret.interpretation import comparable_data
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import TrainingError, UnreadableError, UsageError
from rllib_tactical.sweep.history import UNFINISHED, TrialHistory, apply_event, read_history
from rllib_tactical.sweep.spec import recorded_sweep

SWEEP: Final = "sweep.json"
RESULTS: Final = "results.jsonl"
TRIALS: Final = "trials"
TRIAL: Final = "trial.json"
TABLE: Final = "trials.parquet"
SUMMARY: Final = "summary.json"
REPORT: Final = "report.html"
BUNDLE: Final = "bundle"
TUNE: Final = "tune"

SWEEP_OUTPUT: Final = ResumableOutput(name="sweep", marker=SWEEP)


def trial_name(number: int) -> str:
    """Return the name of a trial's folder."""
    return f"{number:04d}"


class SweepFolder:
    """A sweep's folder as its driver sees it; call ``close`` when done."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._temporary = None if place.is_local else tempfile.mkdtemp(prefix="tactical-sweep-")
        self.local = place.local if self._temporary is None else Path(self._temporary)
        self.history: dict[int, TrialHistory] = {}

    def begin(self, plan: dict[str, Any]) -> None:
        """Begin a new sweep here.

        Raises:
            UsageError: the folder holds a sweep already, or anything else.
        """
        SWEEP_OUTPUT.require(self.place)
        self.local.mkdir(parents=True, exist_ok=True)
        write_object(self.local / SWEEP, plan)
        (self.local / RESULTS).touch()
        self.publish(SWEEP)

    def resume(self, plan: dict[str, Any]) -> None:
        """Go on with the sweep that is here.

        Raises:
            UsageError: there is none.
            TrainingError: it is another one: other data, instruments, space or settings.
        """
        before = read_plan(self.place)
        # what settings were not there yet when the sweep was started had their defaults
        before["identity"] = recorded_sweep(before, f"{self.place}/{SWEEP}").identity()
        for key, what in (
            ("identity", "the sweep file"),
            ("parts", "the data or an instrument"),
            ("bar_seconds", "the bar length"),
        ):
            if _comparable(before).get(key) != _comparable(plan)[key]:
                raise TrainingError(
                    f"--resume: {what} differs from what the sweep in {self.place} began with"
                )
        self.read_history()
        write_object(self.local / SWEEP, plan)
        self.publish(SWEEP)

    def read_history(self) -> None:
        """Read what happened so far."""
        if self.place.has(RESULTS):
            text = self.place.read(RESULTS).decode("utf-8", errors="replace")
            self.history = read_history(text.splitlines())
            whole = text if text.endswith("\n") or not text else text + "\n"
            atomic_write_text(self.local / RESULTS, whole)

    def append(self, event: dict[str, Any]) -> None:
        """Note what happened."""
        apply_event(self.history, event)
        with (self.local / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, allow_nan=False) + "\n")
        self.publish(RESULTS)

    def publish(self, name: str) -> None:
        """Bring a file or folder of the driver to where the sweep is."""
        if self._temporary is None:
            return
        source = self.local / name
        if source.is_dir():
            Mirror(source, self.place / name).push()
            return
        with self.place.files.open_output_stream(f"{self.place.path}/{name}") as stream:
            stream.write(source.read_bytes())

    def size_bytes(self) -> dict[str, int]:
        """Return the sizes of the trials' run folders, by name."""
        sizes: dict[str, int] = {}
        for name, size in (self.place / TRIALS).files_below().items():
            trial = name.split("/")[0]
            sizes[trial] = sizes.get(trial, 0) + size
        return sizes

    def drop_tune(self) -> None:
        """Remove Tune's own files: a sweep that goes on does not read them."""
        if not self.place.is_local:
            with suppress(OSError):
                self.place.files.delete_dir(f"{self.place.path}/{TUNE}")
            return
        shutil.rmtree(self.place.local / TUNE, ignore_errors=True)

    def thin(self) -> None:
        """Drop the checkpoints of trials that have ended, except the newest and the best.

        Trials do so themselves when they end, unless they are killed before. Not at a URI.
        """
        for number, trial in self.history.items():
            if self.place.is_local and trial.status != UNFINISHED:
                RunFolder(self.trial(number).local).thin()

    def trial(self, number: int) -> Place:
        """Return the folder of a trial."""
        return self.place / TRIALS / trial_name(number)

    def close(self) -> None:
        """Remove what was only needed here."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _comparable(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan without what older ones lack: origins of sizes, interpretations, new fields."""
    return plan | {"parts": [_comparable_part(part) for part in plan.get("parts", [])]}


def _comparable_part(part: dict[str, Any]) -> dict[str, Any]:
    part = part | {"data": comparable_data(part.get("data", {}))}
    if isinstance(part.get("instrument"), dict):  # fields that were not there had their defaults
        defaults = {
            each.name: each.default
            for each in dataclasses.fields(Instrument)
            if each.default is not dataclasses.MISSING
        }
        part = part | {"instrument": defaults | part["instrument"]}
    return part


def read_plan(place: Place) -> dict[str, Any]:
    """Return what a sweep was started with.

    Raises:
        UsageError: there is no sweep.
        UnreadableError: its file is damaged.
    """
    if not place.has(SWEEP):
        raise UsageError(f"there is no sweep in {place} ({SWEEP} is missing)")
    plan = place.read_json(SWEEP)
    if "identity" not in plan:
        raise UnreadableError(f"{place}/{SWEEP}: is not the file of a sweep")
    return plan

"""One trial of a sweep: a training run in the process of a Ray actor.

The run folder in the sweep's folder is all that a trial leaves and all that it needs to go on: it
says which results were reported, so that a sweep begun again replays them to its scheduler and its
search, and the run continues from its newest checkpoint. Where the sweep is at a URI the run is
written in a temporary folder of the node and sent there with each result.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.run_folder import RUN, RunFolder
from rllib_tactical.artifacts.storage import Mirror, Place
from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.errors import TacticalError, TrainingError
from rllib_tactical.rl.extensions import Extensions, restore_extensions
from rllib_tactical.rl.tracking.defaults import run_folder_callbacks
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun
from rllib_tactical.rl.training.trainer import run_training
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.sweep.folder import TRIAL, TRIALS, trial_name
from rllib_tactical.sweep.pbt_exploit import exploit
from rllib_tactical.sweep.shared_market import SharedMarket
from rllib_tactical.sweep.space import Space

NUMBER: Final = "trial_number"
POINTER: Final = "from.json"

OBJECTIVE: Final = "best_net_pnl"
CURRENT: Final = "net_pnl"
TIME: Final = "iteration"
ERROR: Final = "refused"

SECONDS_TO_UNWIND: Final = "120"


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What every trial needs to know. ``ended``: how trials of an earlier session ended.

    ``run`` is the description of a run without its configuration; ``population``: trials take over
    each other's weights, so that they hand over checkpoints.
    """

    place: Place
    space: Space
    base: TacticalConfig
    market: SharedMarket
    run: dict[str, Any]
    population: bool
    ended: dict[int, str]
    extensions: Extensions = field(default_factory=dict)


def number_of(trial_id: str, params: dict[str, Any]) -> int:
    """Return a trial's number: named by the search, else the count at the end of Tune's id."""
    if NUMBER in params:
        return int(params[NUMBER])
    return int(trial_id.rpartition("_")[2])


def run_trial(params: dict[str, Any], plan: TrialPlan) -> None:
    """Train one trial, reporting every validated result to Tune.

    What a user's settings cause is reported, not raised: trying again would not help.

    Args:
        params: values drawn by the search.
        plan: what all trials have in common.
    """
    from ray import tune

    limit_threads()
    restore_extensions(plan.extensions)
    # how long an actor waits for a trial that was stopped before it takes the next one
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = SECONDS_TO_UNWIND
    number = number_of(tune.get_context().get_trial_id(), params)
    drawn = json.loads(json.dumps({key: params[key] for key in plan.space.tune_space(False)}))
    with trial_folder(plan.place, number) as (folder, publish):
        try:
            _run(_Trial(number, drawn, plan, folder, publish))
        except TacticalError as error:
            publish()
            tune.report({TIME: 0, "number": number, ERROR: str(error)})
        finally:
            if not plan.population:  # others may take over any of a member's checkpoints
                RunFolder(folder).thin()
                publish()


@contextmanager
def trial_folder(sweep: Place, number: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a trial's folder on this node, and what brings its files to where the sweep is."""
    place = sweep / TRIALS / trial_name(number)
    if place.is_local:
        yield place.local, lambda: None
        return
    local = Path(tempfile.mkdtemp(prefix="tactical-trial-"))
    mirror = Mirror(local, place)
    try:
        mirror.pull()
        yield local, mirror.push
    finally:
        shutil.rmtree(local, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Trial:
    number: int
    drawn: dict[str, Any]
    plan: TrialPlan
    path: Path
    publish: Callable[[], None]

    def state(self) -> dict[str, Any] | None:
        """Return what the trial knows of itself from an earlier start; None at the first."""
        path = self.path / TRIAL
        if not path.is_file() or not (self.path / RUN).is_file():
            return None
        return read_object(path)

    def write_state(self, state: dict[str, Any]) -> None:
        write_object(self.path / TRIAL, state)


def _run(trial: _Trial) -> None:
    plan, folder = trial.plan, RunFolder(trial.path)
    config = _without_own_patience(plan.space.applied(plan.base, trial.drawn))
    market = plan.market.market(config)
    state = trial.state()
    if state is None:
        if trial.path.exists():  # cut off before anything was learnt
            shutil.rmtree(trial.path)
        folder.start(plan.run | {"config": to_dict(config), "config_hash": content_hash(config)})
        state = {
            "trial": trial.number,
            "params": trial.drawn,
            "values": plan.space.decoded(trial.drawn),
        }
        trial.write_state(state)
        trial.publish()
    source = _pointer()
    if source is not None and source["trial"] == trial.number:
        source = None  # its own newest
    # the same checkpoint may be taken again with other values
    if source is not None and (state.get("source"), state["params"]) != (source, trial.drawn):
        before = plan.space.applied(plan.base, state["params"])
        exploit(
            folder,
            plan.place / TRIALS / trial_name(source["trial"]),
            source["iteration"],
            config,
            (before, plan.market.market(before)),
        )
        state |= {
            "params": trial.drawn,
            "values": plan.space.decoded(trial.drawn),
            "source": source,
            "adopted": [*state.get("adopted", []), source],
        }
        trial.write_state(state)
        trial.publish()
    elif state["params"] != trial.drawn:
        raise TrainingError(
            f"trial {trial.number} was started with other values than the sweep draws for it now: "
            "the sweep file, its seed or the search has changed"
        )
    _train(trial, folder, config, market, state)


def _without_own_patience(config: TacticalConfig) -> TacticalConfig:
    """Return the configuration of a trial that ends when the scheduler says, unless it is told."""
    training = config.training
    if training.stop.patience is not None:
        return config
    stop = dataclasses.replace(training.stop, patience=0)
    return dataclasses.replace(config, training=dataclasses.replace(training, stop=stop))


def _train(
    trial: _Trial, folder: RunFolder, config: TacticalConfig, market: Any, state: dict[str, Any]
) -> None:
    report = TuneReport(trial, state)
    done = folder.start_point().iteration
    for row in folder.each_progress():
        if row["iteration"] <= done and "validation_net_pnl" in row:
            report.take(row)
            if not trial.plan.population:
                report.send(row)
    if trial.plan.ended.get(trial.number) is not None:
        return
    run_training(config, market, folder, [*run_folder_callbacks(), report])


class TuneReport(TrainingCallback):
    """Reports validated results to Tune, once the checkpoint that they belong to is safe."""

    def __init__(self, trial: _Trial, state: dict[str, Any]) -> None:
        self._trial, self._state = trial, state
        self._best = -math.inf
        self._row: Row = {}

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Keep the row until its checkpoint is complete."""
        self._row = row

    def on_checkpoint(self, run: TrainingRun, path: Path) -> None:
        """Publish the run folder and report the row, if it has the objective."""
        if "validation_net_pnl" in self._row:
            self.take(self._row)
            self._trial.publish()
            self.send(self._row)

    def take(self, row: Row) -> None:
        """Take a validated row into the best result so far."""
        self._best = max(self._best, float(row["validation_net_pnl"]))

    def send(self, row: Row) -> None:
        """Report a validated row, and the best result so far, to Tune."""
        from ray import tune

        result: dict[str, Any] = {
            "number": self._trial.number,
            TIME: int(row["iteration"]),
            CURRENT: float(row["validation_net_pnl"]),
            OBJECTIVE: self._best,
            "trades": int(row["validation_trades"]),
            "temperature_scale": float(row["temperature_scale"]),
            "env_steps": int(row["env_steps"]),
            "train_pnl": float(row["pnl"]),
            "seconds": float(row["total_seconds"]),
            "drawn": json.dumps(self._trial.drawn),
        }
        source = self._state.get("source")
        if source is not None:
            result |= {"taken_from": source["trial"], "taken_at": source["iteration"]}
        if not self._trial.plan.population:
            tune.report(result)
            return
        here = {"trial": self._trial.number, "iteration": int(row["iteration"])}
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / POINTER).write_text(json.dumps(here), encoding="utf-8")
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(name))


def _pointer() -> dict[str, Any] | None:
    """Return the checkpoint that Tune wants the trial to continue from; None for its newest."""
    from ray import tune

    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as name:
        return read_object(Path(name) / POINTER)

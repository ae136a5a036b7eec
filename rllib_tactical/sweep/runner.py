"""Run a sweep: resources, the shared market, Ray Tune's Tuner, and what is made of its results."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.storage import Place
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.errors import ConfigError, TrainingError
from rllib_tactical.rl.extensions import registered_extensions
from rllib_tactical.rl.run_description import run_description
from rllib_tactical.rl.training.curriculum import check_new_run
from rllib_tactical.rl.training.market import TrainingMarket, prepare_market
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.runtime.ray_cluster import make_room, start_ray
from rllib_tactical.sweep.folder import TRIAL, TUNE, SweepFolder
from rllib_tactical.sweep.history import UNFINISHED
from rllib_tactical.sweep.shared_market import SharedMarket
from rllib_tactical.sweep.spec import SweepSpec
from rllib_tactical.sweep.trial import TrialPlan, run_trial

PROBE: Final = ".probe"
FORMAT: Final = 1

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that can run: its settings, its market, and where it is kept."""

    spec: SweepSpec
    sources: list[DataSource]
    bar_seconds: int
    folder: SweepFolder


def bundles_of(config: TacticalConfig, instruments: int) -> list[dict[str, float]]:
    """Return the resources of a trial: its own process, then one per worker."""
    training = config.training
    validating = training.validation.workers_for(instruments)
    learner = {"CPU": 1.0} | (
        {"GPU": float(training.learner_gpus)} if training.learner_gpus else {}
    )
    own: dict[str, float] = {"CPU": 1.0}
    if training.num_learners == 0 and training.learner_gpus:
        own = learner
    return [
        own,
        *[{"CPU": 1.0}] * (training.num_env_runners + validating),
        *[learner] * training.num_learners,
    ]


def room_for(config: TacticalConfig, instruments: int, resources: dict[str, float]) -> int:
    """Return how many trials fit at a time.

    Raises:
        TrainingError: not even one, for want of CPUs.
        ConfigError: not even one, for want of GPUs.
    """
    needed: dict[str, float] = {}
    for bundle in bundles_of(config, instruments):
        for name, amount in bundle.items():
            needed[name] = needed.get(name, 0.0) + amount
    for name, amount in needed.items():
        if resources.get(name, 0.0) < amount:
            if name == "GPU":
                raise ConfigError(
                    f"config.training.learner_gpus: the Ray cluster must have {amount:g} GPUs, "
                    f"found {resources.get(name, 0.0):g}"
                )
            raise TrainingError(
                f"a trial needs {amount:g} {name} (one for itself and one for each of "
                "training.num_env_runners, num_learners and validation.workers), the Ray cluster "
                f"has {resources.get(name, 0.0):g}"
            )
    return int(min(resources[name] // amount for name, amount in needed.items()))


def run_sweep(sweep: Sweep, resume: bool, log: Log) -> SharedMarket:
    """Run all trials that are not done yet; their results are in the folder's history.

    Raises:
        TacticalError: bad data, a folder in use, a resume that does not fit, too few resources.
        KeyboardInterrupt: interrupted; ``resume`` goes on.
    """
    import ray

    limit_threads()
    spec, folder = sweep.spec, sweep.folder
    market = prepare_market(sweep.sources, spec.config, sweep.bar_seconds)
    if not resume:
        check_new_run(spec.config, market.standardization)
    run = run_description(market, spec.config)
    plan = describe(spec, market, run)
    start_ray(1)
    instruments = len(sweep.sources)
    make_room(int(sum(bundle["CPU"] for bundle in bundles_of(spec.config, instruments))), log)
    room = room_for(spec.config, instruments, ray.cluster_resources())
    if resume:
        folder.resume(plan)
    else:
        folder.begin(plan)
    _check_reach(folder.place)
    for part in market.parts:
        log(part.read_as())
        log(part.summary())
    at_a_time = min(room, spec.max_concurrent or room, spec.trials)
    done = sum(trial.status != UNFINISHED for trial in folder.history.values())
    log(
        f"{spec.trials} trials of {spec.config.training.iterations} iterations, {at_a_time} at a "
        f"time; search {spec.search}, scheduler {spec.scheduler}"
        + (f"; {done} are done" if resume else "")
    )
    shared = SharedMarket.share(market)
    if done < spec.trials:
        _fit(sweep, shared, run, log)
        left = spec.trials - len([t for t in folder.history.values() if t.status != UNFINISHED])
        if left and spec.time_budget_s is None:
            log(f"{left} trials are not done; --resume goes on")
            raise KeyboardInterrupt
    return shared


def describe(spec: SweepSpec, market: TrainingMarket, run: dict[str, Any]) -> dict[str, Any]:
    """Return what a sweep's folder remembers of it."""
    return {
        "format": FORMAT,
        "identity": spec.identity(),
        "sweep": spec.describe(),
        "trials": spec.trials,
        "bar_seconds": run["bar_seconds"],
        "parts": run["parts"],
        "git_commit": run["git_commit"],
        "versions": run["versions"],
    }


def _fit(sweep: Sweep, shared: SharedMarket, run: dict[str, Any], log: Log) -> None:
    """Hand the trials to Ray Tune."""
    for name, value in {
        # a result without the objective is refused by the trial itself, with its reason
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # the run folders have all that Tune's own loggers would write
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    }.items():
        os.environ.setdefault(name, value)
    from ray import tune

    from rllib_tactical.sweep.search import MODE, make_scheduler, make_search, objective
    from rllib_tactical.sweep.tune_callback import Recorder

    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    spec, folder = sweep.spec, sweep.folder
    population = spec.scheduler == "pbt"
    plan = TrialPlan(
        place=folder.place,
        space=spec.domains,
        base=spec.config,
        market=shared,
        run=run,
        population=population,
        ended={n: t.status for n, t in folder.history.items() if t.status != UNFINISHED},
        extensions=registered_extensions(),
    )
    known = drawn_before(folder)
    reached = {
        n: max(t.results, default=0) for n, t in folder.history.items() if t.status == UNFINISHED
    }
    scheduler = make_scheduler(spec, reached, len(plan.ended))
    search = make_search(spec, known)
    named = spec.scheduler == "none" and spec.search != "optuna"
    place = folder.place / TUNE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(run_trial, plan=plan),
                tune.PlacementGroupFactory(bundles_of(spec.config, len(sweep.sources))),
            ),
            param_space=spec.domains.tune_space(grid=spec.search == "grid"),
            tune_config=tune.TuneConfig(
                metric=objective(spec) if named else None,
                mode=MODE if named else None,
                search_alg=search,
                scheduler=scheduler,
                num_samples=spec.samples,
                max_concurrent_trials=spec.max_concurrent,
                time_budget_s=spec.time_budget_s,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"session-{secrets.token_hex(4)}",
                storage_path=place.path,
                storage_filesystem=place.files,
                failure_config=tune.FailureConfig(max_failures=spec.max_failures),
                callbacks=[Recorder(spec, folder, log)],
                verbose=0,
            ),
        )
        with _handlers_restored():
            tuner.fit()
    folder.drop_tune()
    if not population:
        folder.thin()


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """Give back the signal handlers that Tune replaces and leaves behind: they swallow a Ctrl-C."""
    numbers = (signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def drawn_before(folder: SweepFolder) -> dict[int, dict[str, Any]]:
    """Return the sampled values of all trials that began, by number."""
    found = {}
    for number in folder.history:
        place = folder.trial(number)
        if place.has(TRIAL):
            found[number] = place.read_json(TRIAL)["params"]
    return found


def _check_reach(place: Place) -> None:
    """Refuse a folder of this machine that other nodes of the cluster do not see.

    Raises:
        TrainingError: a node does not see the folder.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not place.is_local or len(nodes) < 2:
        return
    token = secrets.token_hex(8)
    atomic_write_text(place.local / PROBE, token)
    look = ray.remote(num_cpus=0)(_read_probe)
    answers = {
        node["NodeManagerAddress"]: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(str(place.local / PROBE))
        for node in nodes
    }
    blind = [address for address, answer in answers.items() if ray.get(answer) != token]
    (place.local / PROBE).unlink()
    if blind:
        raise TrainingError(
            f"--out {place} cannot be accessed by the nodes {', '.join(blind)}: name a folder that "
            "all nodes share, or a URI such as s3://bucket/sweep"
        )


def _read_probe(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None

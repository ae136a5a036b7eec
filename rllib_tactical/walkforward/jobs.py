"""Training jobs of an evaluation: one per fold and seed, each a Ray task that can be repeated.

A job trains through ``rllib_tactical.train`` and exports a bundle. It leaves a folder
``fold-K/seed-S`` with ``run`` (a training run), ``bundle`` and ``training.log``. A job whose bundle
is complete is not run again; one that was cut off goes on from its newest checkpoint.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.run_folder import PROGRESS, RUN
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.config.loader import recorded_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.errors import TacticalError, TrainingError
from rllib_tactical.rl import train
from rllib_tactical.rl.extensions import Extensions, registered_extensions, restore_extensions
from rllib_tactical.rl.run_description import cpus_of
from rllib_tactical.runtime.ray_cluster import require_gpus, start_ray
from rllib_tactical.walkforward.folds import Fold

LOG: Final = "training.log"
SECONDS_BETWEEN_LINES: Final = 30.0

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What one task trains: a fold with a seed. ``config`` has both already worked in."""

    fold: Fold
    seed: int
    folder: Path
    source: DataSource
    data_sha256: str
    bar_seconds: int
    config: TacticalConfig

    @property
    def name(self) -> str:
        """How the job is called in messages."""
        return f"fold {self.fold.number} seed {self.seed}"

    @property
    def bundle_path(self) -> Path:
        """Where its bundle is."""
        return self.folder / "bundle"

    def finished(self) -> Bundle | None:
        """Return the job's bundle, if it was trained to the end on this data by this config.

        Raises:
            BundleError: the bundle in its place is damaged.
            TrainingError: it belongs to other data or another configuration.
        """
        if not (self.bundle_path / MANIFEST).is_file():
            return None
        bundle = load_bundle(self.bundle_path)
        training = bundle.manifest["training"]
        if training["data"]["sha256"] != self.data_sha256 or self.config != recorded_config(
            training["config"], f"{self.bundle_path}: training.config"
        ):
            raise TrainingError(
                f"{self.bundle_path} was trained on other data or with other settings: "
                "name another --out"
            )
        return bundle


def make_jobs(
    folds: tuple[Fold, ...],
    seeds: tuple[int, ...],
    config: TacticalConfig,
    length: int,
    out: Path,
    **data: Any,
) -> list[Job]:
    """Return the jobs of all folds and seeds; ``data`` are the other fields of ``Job``."""
    jobs = []
    for fold in folds:
        for seed in seeds:
            training = fold.training(config.training, length, seed)
            jobs.append(
                Job(
                    fold=fold,
                    seed=seed,
                    folder=out / f"fold-{fold.number}" / f"seed-{seed}",
                    config=dataclasses.replace(config, training=training),
                    **data,
                )
            )
    return jobs


def run_job(job: Job, extensions: Extensions) -> str:
    """Train and export with a user's extensions; return the bundle's id.

    Raises:
        TacticalError: as of ``train`` and ``export_run``.
    """
    restore_extensions(extensions)
    job.folder.mkdir(parents=True, exist_ok=True)
    run = job.folder / "run"
    with (job.folder / LOG).open("a", encoding="utf-8", buffering=1) as log:
        train(
            [job.source],
            run,
            job.config,
            bar_seconds=job.bar_seconds,
            resume=(run / RUN).is_file(),
            log=partial(print, file=log),
        )
    return export_run(run, job.bundle_path).bundle_id


def run_jobs(jobs: list[Job], parallel: int | None, log: Log) -> None:
    """Run the jobs as Ray tasks, as many at a time as the cluster has CPUs for.

    A job takes one CPU, one more for each of its env runners, and its learners' GPUs. All jobs are
    tried even when one fails.

    Args:
        jobs: what to train; every folder must be reachable from every node.
        parallel: most jobs at a time; as many as fit when None.
        log: prints a line.

    Raises:
        TrainingError: jobs failed; names each with its reason.
        ConfigError: the cluster has fewer GPUs than a job needs.
    """
    import ray

    if not jobs:
        return
    workers = cpus_of(jobs[0].config, 1)
    start_ray(1 + workers)
    training = jobs[0].config.training
    # without learners of their own it is the jobs that need the GPUs, each on some node
    require_gpus(training.learner_gpus, max(1, training.num_learners))
    gpus = 0 if training.num_learners else training.learner_gpus
    room = max(1, int(ray.cluster_resources().get("CPU", 1)) // (1 + workers))
    room = min(room, parallel or room, len(jobs))
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=2)(run_job)
    waiting, failed = list(jobs), []
    running: dict[Any, Job] = {}
    log(f"{len(jobs)} training runs, {room} at a time")
    told = time.monotonic()
    while waiting or running:
        while waiting and len(running) < room:
            job = waiting.pop(0)
            running[task.remote(job, registered_extensions())] = job
            log(f"{job.name}: started")
        done, _ = ray.wait(list(running), timeout=5.0)
        for reference in done:
            job = running.pop(reference)
            try:
                log(f"{job.name}: bundle {ray.get(reference)[:12]}")
            except ray.exceptions.RayError as error:
                failed.append(f"{job.name}: {_reason(error)}")
                log(failed[-1])
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            for line in _standing(list(running.values())):
                log(line)
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(jobs)} training runs failed; the others are kept, "
            f"continue with --resume: {'; '.join(failed)}"
        )


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    if isinstance(cause, TacticalError):
        return str(cause)
    return str(cause or error).strip().splitlines()[-1]


def _standing(jobs: list[Job]) -> Iterator[str]:
    """Yield how far the running jobs are."""
    for job in jobs:
        path = job.folder / "run" / PROGRESS
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        yield f"{job.name}: iteration {len(lines)} of {job.config.training.iterations}"

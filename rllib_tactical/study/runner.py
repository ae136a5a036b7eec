"""Run the missing runs of the study as Ray tasks, then report all finished ones."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rllib_tactical.bench.measurement import Row
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.runtime.ray_cluster import named_cluster
from rllib_tactical.study.analysis import Answer, answer, rows_of
from rllib_tactical.study.completed import finished_answers, narrowed
from rllib_tactical.study.experiments import QUESTIONS, Question, Run, runs_of, unique, unseen_bars
from rllib_tactical.study.report import write_page
from rllib_tactical.study.result_store import Store

FOLDER: Final = Path("runs/learning")
PAGE: Final = "learning.html"
TABLES: Final = "learning.txt"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSize:
    """Which questions to answer, and how large their runs are.

    Attributes:
        folder: where finished runs are stored.
        questions: names in ``QUESTIONS``; all when empty.
        markets: restricts every question to some of its markets; all when empty.
        seeds: number of seeds, 1 .. N.
        steps: account steps of every run.
        minutes: start no run after this time; the next call continues from there. With 0 no run is
            started, and every finished run of these questions and markets is reported, of any seed
            and size.
        parallel: most runs at a time; None for one per CPU.
        train_bars: bars of the market that is trained on.
        sessions: sessions of the unseen market.
        difficulty: of both markets, 0 to 1.
    """

    folder: Path = FOLDER
    questions: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    seeds: int = 5
    steps: int = 409_600
    minutes: float | None = None
    parallel: int | None = None
    train_bars: int = 400_000
    sessions: int = 200
    difficulty: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.questions if name not in QUESTIONS]
        if unknown:
            raise UsageError(
                f"--question must be one of {', '.join(QUESTIONS)}, found {', '.join(unknown)}"
            )

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions, the most important ones first."""
        return tuple(QUESTIONS[name] for name in self.questions or QUESTIONS)

    def runs(self, question: Question) -> list[Run]:
        """Return a question's runs."""
        make = functools.partial(
            Run,
            steps=self.steps,
            train_bars=self.train_bars,
            test_bars=unseen_bars(self.sessions),
            difficulty=self.difficulty,
        )
        runs = runs_of(question, make, tuple(range(1, self.seeds + 1)))
        return [run for run in runs if not self.markets or run.market in self.markets]


def measure_learning(size: LearningSize, progress: Progress) -> list[Row]:
    """Train the runs that are missing and return the rows of all questions.

    Writes ``learning.html`` (a table and a plot per question and size) and ``learning.txt`` into
    the folder, from all runs that are finished there, requested or not.

    Args:
        size: the questions.
        progress: called with every run that ends, and the time left.

    Raises:
        TrainingError: runs failed; the others are kept.
    """
    store = Store(size.folder)
    failed: list[str] = []
    if size.minutes != 0:
        wanted = unique([run for question in size.asked for run in size.runs(question)])
        wanted.sort(key=lambda run: run.seed)  # interrupted: few seeds of every question
        failed = _run_missing(wanted, store, size, progress)
    everything = finished_answers(store)
    _write(everything, store.folder)
    progress(f"tables and plots: {store.folder / PAGE}")
    if failed:
        raise TrainingError(f"{len(failed)} runs failed, the others are kept: {'; '.join(failed)}")
    answers = narrowed(everything, size.questions, size.markets)
    if size.minutes != 0:
        answers = [
            answer(
                question,
                [(run, found) for run in size.runs(question) if (found := store.find(run))],
            )
            for question in size.asked
        ]
    return [row for each in answers for row in rows_of(each)]


def _write(answers: list[Answer], folder: Path) -> None:
    from rllib_tactical.artifacts.atomic import atomic_write_text

    folder.mkdir(parents=True, exist_ok=True)
    texts = [each.text() for each in answers] or ["no finished runs with the present defaults"]
    atomic_write_text(folder / TABLES, "\n\n".join(texts) + "\n")
    write_page(folder / PAGE, answers)


def _run_missing(
    wanted: list[Run], store: Store, size: LearningSize, progress: Progress
) -> list[str]:
    """Train the runs that have no result yet; return a line for each that failed."""
    missing = [run for run in wanted if store.find(run) is None]
    progress(f"{len(wanted) - len(missing)} of {len(wanted)} runs are finished")
    if not missing:
        return []
    import ray

    from rllib_tactical.study.run import train_run

    joined = ray.is_initialized()
    if not joined:
        _start_ray()
    room = int(ray.cluster_resources().get("CPU", 1))
    # a run whose env runners found no CPU would wait for them for ever
    room = max(1, room // max(1 + run.config.training.num_env_runners for run in missing))
    room = min(room, size.parallel or room, len(missing))
    task = ray.remote(num_cpus=1, max_retries=1)(train_run)
    waiting, failed, done = list(missing), [], 0
    running: dict[Any, Run] = {}
    begun = time.monotonic()
    try:
        while waiting or running:
            late = size.minutes is not None and time.monotonic() - begun > 60 * size.minutes
            while waiting and len(running) < room and not late:
                run = waiting.pop(0)
                running[task.remote(run)] = run
            if not running:
                break
            ready, _ = ray.wait(list(running), timeout=5.0)
            for reference in ready:
                run = running.pop(reference)
                try:
                    store.keep(run, ray.get(reference))
                    done += 1
                    left = (time.monotonic() - begun) / done * (len(missing) - done)
                    progress(f"{run.name}: done, {done} of {len(missing)}, left {_clock(left)}")
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    failed.append(f"{run.name}: {_reason(cause)}")
                    progress(failed[-1])
    finally:
        if not joined:
            ray.shutdown()
    if waiting:
        progress(f"stopped after {size.minutes:g} minutes with {len(waiting)} runs left")
    return failed


def _reason(cause: BaseException) -> str:
    """Return the last line of an error's message, or its class where it has none."""
    lines = str(cause).strip().splitlines()
    return lines[-1] if lines else type(cause).__name__


def _start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start a Ray instance of this process.

    A Ray instance of someone else on this machine is not used: it may end before the study.
    """
    import ray

    address = named_cluster()
    ray.init(
        address or "local",
        include_dashboard=None if address else False,
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"

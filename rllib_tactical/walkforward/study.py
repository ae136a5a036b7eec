"""Walk-forward evaluation: train on each fold, trade the next, test all of it together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.json_file import read_object, write_object
from rllib_tactical.artifacts.output_folder import ResumableOutput
from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.engine import bundle_votes, hold_votes
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import content_hash, from_dict, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import Dataset, UnsizedDataset
from rllib_tactical.data.interpret.interpretation import INTERPRETATION, comparable_data
from rllib_tactical.data.sizing import SIZE_FROM, TrainingBars
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Bars, BoolArray, Instrument
from rllib_tactical.errors import TrainingError
from rllib_tactical.walkforward.folds import Fold
from rllib_tactical.walkforward.jobs import Job, Log, make_jobs, run_jobs

PLAN: Final = "plan.json"

STUDY_OUTPUT: Final = ResumableOutput(name="walk-forward evaluation", marker=PLAN)


@dataclass(frozen=True, slots=True)
class Study:
    """What is evaluated: one market, its folds, the seeds and the configuration."""

    dataset: Dataset
    folds: tuple[Fold, ...]
    seeds: tuple[int, ...]
    config: TacticalConfig

    @property
    def bars(self) -> Bars:
        """All bars of the market."""
        return self.dataset.bars

    @property
    def history(self) -> MarketHistory:
        """The market history, one size for all folds."""
        return self.dataset.history

    def describe(self) -> dict[str, Any]:
        """Return everything that decides what comes out, as plain values."""
        return {
            "kind": "evaluation",
            "data": {
                "name": self.dataset.source.path.name,
                "sha256": self.dataset.sha256,
                "bars": len(self.bars),
                "synergies": self.dataset.source.synergies,
                SIZE_FROM: self.dataset.size_from,
                INTERPRETATION: self.dataset.interpretation.to_dict(),
            },
            "bar_seconds": self.dataset.bar_seconds,
            "instrument": to_dict(self.history.instrument),
            "folds": [fold.describe(self.bars) for fold in self.folds],
            "seeds": list(self.seeds),
            "config": to_dict(self.config),
            "config_hash": content_hash(self.config),
        }

    def jobs(self, out: Path) -> list[Job]:
        """Return the training jobs of the study."""
        source = self.dataset.source
        return make_jobs(
            self.folds,
            self.seeds,
            self.config,
            len(self.bars),
            out,
            source=dataclasses.replace(source, path=source.path.absolute()),
            data_sha256=self.dataset.sha256,
            bar_seconds=self.dataset.bar_seconds,
        )


def make_study(
    loaded: UnsizedDataset, folds: tuple[Fold, ...], seeds: tuple[int, ...], config: TacticalConfig
) -> Study:
    """Return a study of a market.

    The training bars of the first fold size an instrument without base quantity, in the runs of
    all folds and in their tests: P&L of one fold is then comparable with that of another, and no
    size is from bars that come after a fold's training bars.
    """
    size_from = TrainingBars(folds[0].train_stop)
    source = dataclasses.replace(loaded.source, size_from=size_from)
    return Study(
        dataset=dataclasses.replace(loaded, source=source).sized(size_from),
        folds=folds,
        seeds=seeds,
        config=config,
    )


def open_folder(out: Path, study: Study, resume: bool) -> None:
    """Begin a study's folder, or check that the one there is of the same study.

    Raises:
        UsageError: the folder holds a study already, or anything else; to resume: it holds none.
        TrainingError: the study to resume is another one.
        UnreadableError: the plan in the folder is damaged.
    """
    plan, path = study.describe(), out / PLAN
    STUDY_OUTPUT.require(out, resume=resume)
    if resume:
        _check_same(read_object(path), plan, out)
        return
    out.mkdir(parents=True, exist_ok=True)
    write_object(path, plan)


def train_missing(study: Study, out: Path, parallel: int | None, log: Log) -> dict[Job, Bundle]:
    """Train what is not trained yet; return every job's bundle.

    Raises:
        TrainingError: runs failed, or a bundle is of something else.
    """
    jobs = study.jobs(out)
    missing = [job for job in jobs if job.finished() is None]
    if len(missing) < len(jobs):
        log(f"{len(jobs) - len(missing)} of {len(jobs)} training runs are finished")
    run_jobs(missing, parallel, log)
    bundles = {job: job.finished() for job in jobs}
    return {job: bundle for job, bundle in bundles.items() if bundle is not None}


def stitched_votes(
    study: Study, bundles: dict[Job, Bundle], seed: int, scale: float | None = None
) -> tuple[Votes, BoolArray, int, int]:
    """Return a seed's votes over all tests: each fold's bundle on its own test bars.

    Args:
        study: what is evaluated.
        bundles: those of all jobs.
        seed: whose bundles vote.
        scale: temperature scale instead of each bundle's own.

    Returns:
        The votes (K, 3) of the bars start <= t < stop, on which of them (K,) a bundle voted (it
        does not in the embargo before each test), start and stop.
    """
    start, stop = study.folds[0].test_start, study.folds[-1].test_stop
    votes, tested = hold_votes(stop - start), np.zeros(stop - start, dtype=np.bool_)
    for job, bundle in bundles.items():
        if job.seed != seed:
            continue
        part = slice(job.fold.test_start - start, job.fold.test_stop - start)
        bars = np.arange(job.fold.test_start, job.fold.test_stop)
        theirs = bundle_votes(bundle, study.history, bars, scale)
        votes.index[part], votes.confidence[part] = theirs.index, theirs.confidence
        tested[part] = True
    return votes, tested, start, stop


def evaluate_seed(study: Study, bundles: dict[Job, Bundle], seed: int) -> Comparison:
    """Trade all tests of one seed with one account, beside the baselines on the same bars."""
    votes, tested, start, stop = stitched_votes(study, bundles, seed)
    return compare_votes(
        votes,
        study.history,
        study.config.rules,
        start,
        stop,
        label=f"Trained agents, seed {seed}",
        train_confidence=study.config.training.train_confidence,
        seed=seed,
        active=tested,
    )


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    for key, value in _comparable(now).items():
        if _comparable(before).get(key) != value:
            raise TrainingError(
                f"--resume: {key} differs from what the evaluation in {out} was started with"
            )


def _comparable(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan without what older ones lack: origins of sizes, interpretations, new fields."""
    data, instrument = plan.get("data"), plan.get("instrument")
    if isinstance(data, dict):
        plan = plan | {"data": comparable_data(data)}
    if isinstance(instrument, dict):  # fields that were not there yet had their defaults
        plan = plan | {"instrument": to_dict(from_dict(Instrument, instrument, PLAN))}
    return plan

"""Walk-forward evaluation: train on each fold, trade the next, judge all of it together."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.engine import bundle_votes, hold_votes
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import content_hash, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import load_market
from rllib_tactical.data.files import file_sha256
from rllib_tactical.data.instruments import resolve_base_quantity
from rllib_tactical.data.synergy_events import synergies_for
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.causality import check_causality
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars, BoolArray, Instrument
from rllib_tactical.errors import TrainingError, UnreadableError, UsageError
from rllib_tactical.walkforward.folds import Fold
from rllib_tactical.walkforward.jobs import Job, Log, make_jobs, run_jobs

PLAN: Final = "plan.json"


@dataclass(frozen=True, slots=True)
class Study:
    """What is evaluated: one market, its folds, the seeds and the configuration."""

    data: Path
    data_sha256: str
    instrument: Instrument
    synergies: str
    bar_seconds: int
    bars: Bars
    history: MarketHistory
    folds: tuple[Fold, ...]
    seeds: tuple[int, ...]
    config: TacticalConfig

    def describe(self) -> dict[str, Any]:
        """Return everything that decides what comes out, as plain values."""
        return {
            "kind": "evaluation",
            "data": {
                "name": self.data.name,
                "sha256": self.data_sha256,
                "bars": len(self.bars),
                "synergies": self.synergies,
            },
            "bar_seconds": self.bar_seconds,
            "instrument": to_dict(self.history.instrument),
            "folds": [fold.describe(self.bars) for fold in self.folds],
            "seeds": list(self.seeds),
            "config": to_dict(self.config),
            "config_hash": content_hash(self.config),
        }

    def jobs(self, out: Path) -> list[Job]:
        """Return the training jobs of the study."""
        return make_jobs(
            self.folds,
            self.seeds,
            self.config,
            len(self.bars),
            out,
            data=self.data.absolute(),
            data_sha256=self.data_sha256,
            instrument=self.instrument,
            synergies=self.synergies,
            bar_seconds=self.bar_seconds,
        )


def read_market(
    data: Path, instrument: Instrument, synergies: str, bar_seconds: int
) -> tuple[Bars, MarketHistory]:
    """Load and check bars and build their history; ``make_study`` sizes the instrument.

    Raises:
        TacticalError: the data cannot be read, break a rule or fail the causality gate.
    """
    bars, sessions = load_market(data, instrument, bar_seconds)
    check_causality(bars)
    track = synergies_for(synergies, bars, bar_seconds)
    return bars, build_history(bars, sessions, instrument, track)


def make_study(
    data: Path,
    instrument: Instrument,
    market: tuple[Bars, MarketHistory],
    folds: tuple[Fold, ...],
    seeds: tuple[int, ...],
    config: TacticalConfig,
    synergies: str,
    bar_seconds: int,
) -> Study:
    """Return a study; an instrument without a size is sized by the first fold's training bars."""
    bars, history = market
    first = slice(history.first_decision, folds[0].train_stop)
    sized = resolve_base_quantity(instrument, float(history.features.atr[first].mean()))
    return Study(
        data=data,
        data_sha256=file_sha256(data),
        instrument=sized,
        synergies=synergies,
        bar_seconds=bar_seconds,
        bars=bars,
        history=dataclasses.replace(history, instrument=sized),
        folds=folds,
        seeds=seeds,
        config=config,
    )


def open_folder(out: Path, study: Study, resume: bool) -> None:
    """Begin a study's folder, or check that the one there is of the same study.

    Raises:
        TrainingError: the folder holds this study already, or another one, or anything else.
        UnreadableError: the plan in the folder is damaged.
    """
    plan, path = study.describe(), out / PLAN
    if path.is_file():
        if not resume:
            raise TrainingError(
                f"{out} holds an evaluation already: continue it with --resume or name another "
                "--out"
            )
        _check_same(_read(path), plan, out)
        return
    if resume:
        raise UsageError(f"--resume: there is no evaluation in {out}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is not an empty folder: name another --out")
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(plan, indent=2) + "\n")


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
    for key, value in now.items():
        if before.get(key) != value:
            raise TrainingError(
                f"--resume: {key} differs from what the evaluation in {out} was started with"
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: not a readable plan: {error}") from error
    if not isinstance(values, dict):
        raise UnreadableError(f"{path}: must hold an object, found {type(values).__name__}")
    return values

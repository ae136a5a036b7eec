"""Training jobs: what each trains, which are finished, and what is said of those that fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.errors import BundleError, TrainingError
from rllib_tactical.walkforward import jobs as walkforward_jobs
from rllib_tactical.walkforward.folds import Fold
from rllib_tactical.walkforward.jobs import LOG, Job, make_jobs, run_jobs
from tests.actors import untrained_weights
from tests.market import INSTRUMENT

pytestmark = pytest.mark.slow

FOLDS = (Fold(0, 2_000, 3_000, 4_000), Fold(1, 3_000, 4_000, 5_000))
CONFIG = TacticalConfig(training=TrainingConfig(iterations=7, num_env_runners=0))


def jobs_in(out: Path, seeds: tuple[int, ...] = (4, 9)) -> list[Job]:
    return make_jobs(
        FOLDS,
        seeds,
        CONFIG,
        5_000,
        out,
        source=DataSource(out / "missing.csv", INSTRUMENT),
        data_sha256="ab" * 32,
        bar_seconds=300,
    )


def test_every_fold_is_trained_with_every_seed_on_its_own_bars(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path)
    assert [job.name for job in jobs] == [
        f"fold {fold} seed {seed}" for fold in (0, 1) for seed in (4, 9)
    ]
    assert len({job.folder for job in jobs}) == 4
    last = jobs[-1]
    assert last.bundle_path == tmp_path / "fold-1" / "seed-9" / "bundle"
    assert last.config.training.seed == 9
    assert last.config.training.splits == pytest.approx((0.6, 0.2, 0.2))
    assert jobs[0].config.training.splits == pytest.approx((0.4, 0.2, 0.4))
    assert dataclasses.replace(last.config, training=CONFIG.training) == CONFIG


def exported(job: Job) -> Bundle:
    """Leave the bundle of the job's training in its place."""
    return export_bundle(
        job.bundle_path,
        weights=untrained_weights(),
        rules=Rules(),
        instrument=INSTRUMENT,
        bar_seconds=300,
        temperature_scale=1.0,
        training={"config": to_dict(job.config), "data": {"sha256": job.data_sha256}},
        metrics={},
    )


def test_a_job_is_finished_by_a_bundle_of_the_same_data_and_settings(tmp_path: Path) -> None:
    (job, *_) = jobs_in(tmp_path)
    assert job.finished() is None
    job.bundle_path.mkdir(parents=True)  # an export that was cut off
    assert job.finished() is None
    job.bundle_path.rmdir()
    made = exported(job)
    found = job.finished()
    assert found is not None
    assert found.bundle_id == made.bundle_id

    for other in (
        dataclasses.replace(job, data_sha256="cd" * 32),
        dataclasses.replace(job, config=CONFIG),
    ):
        with pytest.raises(TrainingError, match="other data or with other settings: name another"):
            other.finished()


def test_a_damaged_bundle_is_not_taken_for_a_finished_job(tmp_path: Path) -> None:
    (job, *_) = jobs_in(tmp_path)
    exported(job)
    weights = next(job.bundle_path.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError):
        job.finished()


def test_the_last_line_of_an_error_is_its_reason() -> None:
    error = RuntimeError("Traceback\n  File x\nValueError: no disk\n")
    assert walkforward_jobs._reason(error) == "ValueError: no disk"
    error.cause = TrainingError("diverged in iteration 3: entropy\nis not finite")  # type: ignore[attr-defined]
    assert walkforward_jobs._reason(error) == "diverged in iteration 3: entropy\nis not finite"


def test_running_jobs_are_told_by_the_lines_that_they_have_written(tmp_path: Path) -> None:
    first, second, *_ = jobs_in(tmp_path)
    folder = RunFolder(first.folder / "run")
    folder.start({})
    for k in (1, 2, 3):
        folder.append_progress({"iteration": k})
    assert list(walkforward_jobs._standing([first, second])) == [
        "fold 0 seed 4: iteration 3 of 7",
        "fold 0 seed 9: iteration 0 of 7",
    ]


@pytest.mark.ray
def test_every_job_is_tried_and_each_failure_is_named(tmp_path: Path, ray_instance: None) -> None:
    said: list[str] = []
    jobs = jobs_in(tmp_path)[:3]
    with pytest.raises(TrainingError) as raised:
        run_jobs(jobs, 1, said.append)
    message = str(raised.value)
    assert message.startswith("3 of 3 training runs failed; the others are kept, continue with")
    for job in jobs:
        assert message.count(f"{job.name}: ") == 1
        assert (job.folder / LOG).is_file()
    assert "missing.csv" in message
    assert "Traceback" not in message
    assert said[0] == "3 training runs, 1 at a time"
    # one at a time: the next starts when the one before is done
    steps = ["started" if line.endswith("started") else "failed" for line in said[1:]]
    assert steps == ["started", "failed"] * 3


def test_nothing_to_train_needs_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        pytest.fail("Ray must not start")

    monkeypatch.setattr(walkforward_jobs, "start_ray", refuse)
    run_jobs([], None, print)

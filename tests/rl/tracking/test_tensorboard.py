"""Event files as TensorBoard reads them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.artifacts.run_folder import RunFolder, StartPoint
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLogger
from rllib_tactical.rl.training.callbacks import TrainingEnd, TrainingRun


def row(k, pnl):
    return {"env_steps": 100 * k, "pnl": pnl, "converged": False, "reward_fvg": None, "of": "text"}


def shown(folder, name):
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(f"tactical/{name}")]


def started(folder, start=StartPoint()):  # noqa: B008 - it is frozen
    """Return a logger of a run that starts there, and the run."""
    logger, run = TensorBoardLogger(), TrainingRun(RunFolder(folder), TacticalConfig(), start)
    logger.on_start(run)
    return logger, run


def test_the_numbers_of_a_row_are_scalars_at_its_steps(tmp_path):
    logger, run = started(tmp_path)
    logger.on_iteration(run, row(1, 1.5))
    logger.on_iteration(run, row(2, -2.0))
    # readable without a close, which a killed process does not come to
    assert shown(tmp_path, "pnl") == [(100, 1.5), (200, -2.0)]
    assert shown(tmp_path, "converged") == [(100, 0.0), (200, 0.0)]
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert sorted(tags) == ["tactical/converged", "tactical/env_steps", "tactical/pnl"]
    logger.on_end(run, TrainingEnd("done"))


@pytest.mark.slow
def test_files_made_in_one_second_are_read_in_the_order_of_their_making(tmp_path):
    # "9" comes before "10" in time and after it in a name
    for k in range(1, 4):
        logger, run = started(tmp_path, StartPoint(iteration=k - 1, env_steps=100 * (k - 1)))
        logger.on_iteration(run, row(k, float(k)))
        logger.on_end(run, TrainingEnd("done"))
    seconds = [path.name.split(".")[3] for path in tmp_path.glob("events.*")]
    assert len(set(seconds)) == 3
    (tmp_path / "events.out.tfevents.other").touch()
    started(tmp_path)  # a file that another program named stops nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "kept"),
    [(StartPoint(), []), (StartPoint(iteration=2, env_steps=200), [(100, 1.0), (200, 2.0)])],
)
def test_what_is_done_again_is_shown_once(tmp_path, start, kept):
    first, run = started(tmp_path)
    for k in (1, 2, 3):
        first.on_iteration(run, row(k, float(k)))
    second, again = started(tmp_path, start)  # the first was killed
    second.on_iteration(again, row(start.iteration + 1, 9.0))
    second.on_end(again, TrainingEnd("done"))
    first.on_end(run, TrainingEnd("done"))
    assert shown(tmp_path, "pnl") == [*kept, (start.env_steps + 100, 9.0)]

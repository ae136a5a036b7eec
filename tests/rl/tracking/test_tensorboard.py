"""Event files as TensorBoard reads them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rllib_tactical.artifacts.run_folder import StartPoint
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLog


def row(k, pnl):
    return {"env_steps": 100 * k, "pnl": pnl, "converged": False, "reward_fvg": None, "of": "text"}


def shown(folder, name):
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(f"tactical/{name}")]


def test_the_numbers_of_a_row_are_scalars_at_its_steps(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.write_row(row(1, 1.5))
    log.write_row(row(2, -2.0))
    # readable without a close, which a killed process does not come to
    assert shown(tmp_path, "pnl") == [(100, 1.5), (200, -2.0)]
    assert shown(tmp_path, "converged") == [(100, 0.0), (200, 0.0)]
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert sorted(tags) == ["tactical/converged", "tactical/env_steps", "tactical/pnl"]
    log.close()


@pytest.mark.parametrize(
    ("start", "kept"),
    [(StartPoint(), []), (StartPoint(iteration=2, env_steps=200), [(100, 1.0), (200, 2.0)])],
)
def test_what_is_done_again_is_shown_once(tmp_path, start, kept):
    first = TensorBoardLog(tmp_path)
    for k in (1, 2, 3):
        first.write_row(row(k, float(k)))
    second = TensorBoardLog(tmp_path)  # the first was killed
    second.drop_after(start)
    second.write_row(row(start.iteration + 1, 9.0))
    second.close()
    first.close()
    assert shown(tmp_path, "pnl") == [*kept, (start.env_steps + 100, 9.0)]

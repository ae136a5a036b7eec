"""A run from its start to its result, on a prepared market."""

import json
import os
import signal

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint
from rllib_tactical.rl.run_description import run_description
from rllib_tactical.rl.tracking.json_lines import JsonLinesLogger
from rllib_tactical.rl.training.callbacks import TrainingCallback
from rllib_tactical.rl.training.trainer import run_training
from rllib_tactical.rl.training.validation import Validation
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


class Interrupting(TrainingCallback):
    """Sends a signal to its own process after an iteration, as a user or a cluster does."""

    def __init__(self, number, iteration=1):
        self._number, self._iteration = number, iteration
        self.ended = None

    def on_iteration(self, run, row):
        if row["iteration"] == self._iteration:
            os.kill(os.getpid(), self._number)

    def on_end(self, run, end):
        self.ended = end.status


def run(prepared, path, config, *callbacks, max_seconds=None):
    folder = RunFolder(path)
    if not path.exists():
        folder.start(run_description(prepared, config))
    listeners = [JsonLinesLogger(), *callbacks]
    return run_training(config, prepared, folder, listeners, max_seconds)


def test_the_result_is_that_of_the_folder(prepared, tmp_path, ray_instance):
    result = run(prepared, tmp_path / "run", small_config(iterations=3))
    folder = RunFolder(tmp_path / "run")
    rows = folder.progress()
    assert (result.iterations, result.env_steps) == (3, 3 * 512)
    assert result.stopped == "all iterations are done"
    assert rows[-1]["total_seconds"] <= result.seconds
    assert result.last_checkpoint == folder.checkpoints()[-1]
    assert result.best_checkpoint == folder.best()
    assert result.validation is not None
    assert result.validation == Validation.from_dict(
        read_checkpoint(result.best_checkpoint)["validation"]
    )
    best = max(row["net_pnl"] for row in folder.validations())
    assert result.validation.net_pnl == best
    assert result.market is prepared


def test_a_finished_run_trains_nothing_and_gives_its_best_checkpoint(
    prepared, tmp_path, ray_instance
):
    first = run(prepared, tmp_path / "run", small_config(iterations=2))
    folder = RunFolder(tmp_path / "run")
    earlier, last = folder.checkpoints()
    state = read_checkpoint(earlier)
    state["validation"]["net_pnl"] = 1e6
    (earlier / "checkpoint.json").write_text(json.dumps(state))
    again = run(prepared, tmp_path / "run", small_config(iterations=2))
    assert (again.iterations, again.env_steps) == (first.iterations, first.env_steps)
    assert len(folder.progress()) == 2
    assert (again.best_checkpoint, again.last_checkpoint) == (earlier, last)
    assert again.validation is not None
    assert again.validation.net_pnl == 1e6


def test_the_time_limit_ends_the_run_with_its_iteration(prepared, tmp_path, ray_instance):
    result = run(prepared, tmp_path / "run", small_config(iterations=50), max_seconds=1e-6)
    assert (result.iterations, result.stopped) == (1, "0 s have passed")
    longer = run(prepared, tmp_path / "run", small_config(iterations=2), max_seconds=1e-6)
    assert longer.iterations == 2  # the limit is that of a call
    assert longer.seconds > 0.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_answered_with_a_checkpoint(prepared, tmp_path, ray_instance, number):
    handler = signal.getsignal(number)
    interrupting = Interrupting(number)
    config = small_config(iterations=50, checkpoint_every=50)
    with pytest.raises(KeyboardInterrupt):
        run(prepared, tmp_path / "run", config, interrupting)
    assert signal.getsignal(number) == handler
    assert interrupting.ended == "interrupted"
    folder = RunFolder(tmp_path / "run")
    (newest,) = folder.checkpoints()
    rows = folder.progress()
    assert read_checkpoint(newest)["iteration"] == len(rows) == 2
    assert read_checkpoint(newest)["env_steps"] == rows[-1]["env_steps"]

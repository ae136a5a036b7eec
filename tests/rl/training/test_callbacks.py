"""Callbacks: when they are notified, how they end a run, and what an error of theirs does."""

import dataclasses
from typing import Any

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder, read_checkpoint
from rllib_tactical.config.training import ValidationConfig
from rllib_tactical.rl import TrainingCallback, train
from rllib_tactical.rl.training.callbacks import CallbackList, TrainingEnd, TrainingRun, notified
from tests.rl.small import small_config

CONFIG = small_config(iterations=6, checkpoint_every=4, validation=ValidationConfig(every=2))


class Recorded(TrainingCallback):
    """Keeps the events in order, and asks to stop at one of them."""

    def __init__(self, stop_at=None, out=None, name=""):
        self.events, self._stop_at, self._name = out if out is not None else [], stop_at, name

    def _take(self, run, *event):
        self.events.append((self._name, *event) if self._name else event)
        if event == self._stop_at:
            run.stop(f"asked at {' '.join(map(str, event))}")

    def on_start(self, run):
        self._take(run, "start", run.start.iteration)

    def on_validation(self, run, validation):
        self._take(run, "validation", validation["iteration"], validation["known_at"])

    def on_iteration(self, run, row):
        self._take(run, "iteration", row["iteration"], "validation_net_pnl" in row)

    def on_checkpoint(self, run, path):
        self._take(run, "checkpoint", int(path.name))

    def on_end(self, run, end):
        self._take(run, "end", end.status, end.reason)


def test_of_several_requests_the_first_gives_the_reason(tmp_path):
    run = TrainingRun(RunFolder(tmp_path), CONFIG)
    run.stop("first")
    run.stop("second")
    assert run.stop_reason == "first"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "finished", "all done"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (ValueError("broken"), "failed", "broken"),
    ],
)
def test_every_end_is_notified_with_its_reason(tmp_path, error, status, reason):
    recorded, run = Recorded(), TrainingRun(RunFolder(tmp_path), CONFIG)
    raised = None
    try:
        with notified(run, CallbackList([recorded])):
            if error is not None:
                raise error
            run.stop_reason = "all done"
    except BaseException as found:
        raised = found
    assert raised is error
    assert recorded.events == [("start", 0), ("end", status, reason)]


def test_who_was_started_is_ended_whoever_else_fails(tmp_path):
    events: list[Any] = []

    class Failing(Recorded):
        def on_end(self, run, end):
            super().on_end(run, end)
            raise ValueError(self._name)

    class Refusing(TrainingCallback):
        def on_start(self, run):
            raise RuntimeError("no connection")

    parts: list[TrainingCallback] = [Failing(out=events, name="a"), Recorded(out=events, name="b")]
    with (
        pytest.raises(ValueError, match="a"),
        notified(TrainingRun(RunFolder(tmp_path), CONFIG), CallbackList(parts)),
    ):
        pass
    assert [event[:2] for event in events] == [(n, e) for e in ("start", "end") for n in "ab"]
    events.clear()
    parts = [Recorded(out=events, name="a"), Refusing(), Recorded(out=events, name="c")]
    with (
        pytest.raises(RuntimeError, match="no connection"),
        notified(TrainingRun(RunFolder(tmp_path), CONFIG), CallbackList(parts)),
    ):
        pytest.fail("the block must not run")
    assert events == [("a", "start", 0), ("a", "end", "failed", "no connection")]


def test_an_end_without_an_error_is_regular():
    assert TrainingEnd("done").status == "finished"


def trained(bars, out, *callbacks, workers=0, **more):
    training = dataclasses.replace(
        CONFIG.training, validation=ValidationConfig(every=2, workers=workers)
    )
    config = dataclasses.replace(CONFIG, training=training)
    return train([bars], out, config, log=lambda line: None, callbacks=callbacks, **more)


@pytest.mark.ray
def test_a_run_notifies_of_everything_in_order(bars, tmp_path, ray_instance):
    recorded = Recorded()
    trained(bars, tmp_path / "run", recorded)
    expected: list[tuple[Any, ...]] = [("start", 0)]
    for k in range(1, 7):
        validated = k % 2 == 0
        expected += [("validation", k, k)] if validated else []
        expected += [("iteration", k, validated)]
        expected += [("checkpoint", k)] if validated else []
    assert recorded.events == [*expected, ("end", "finished", "all iterations are done")]


@pytest.mark.ray
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("event", "last"),
    [
        (("start", 0), 1),
        (("iteration", 3, False), 3),
        (("iteration", 4, True), 4),
        (("checkpoint", 4), 4),
    ],
)
def test_a_callback_ends_the_run(bars, tmp_path, ray_instance, event, last, workers):
    recorded, out = Recorded(stop_at=event), tmp_path / "run"
    result = trained(bars, out, recorded, workers=workers)
    assert (result.iterations, result.stopped) == (last, f"asked at {' '.join(map(str, event))}")
    assert recorded.events[-1] == ("end", "finished", result.stopped)
    folder = RunFolder(out)
    assert [row["iteration"] for row in folder.progress()] == list(range(1, last + 1))
    assert int(result.last_checkpoint.name) == last
    validated = [row["iteration"] for row in folder.validations()]
    assert len(validated) == len(set(validated))
    if event[0] != "checkpoint":  # that one is left as it is
        assert validated[-1] == last
        assert read_checkpoint(result.last_checkpoint)["validation"] is not None
    # it was not a criterion of the run, which goes on without the callback
    assert trained(bars, out, resume=True).iterations == 6
    assert [row["iteration"] for row in folder.progress()] == list(range(1, 7))


@pytest.mark.ray
def test_a_stop_asked_for_by_a_validation_takes_its_row_along(bars, tmp_path, ray_instance):
    recorded = Recorded(stop_at=("validation", 2, 2))
    result = trained(bars, tmp_path / "run", recorded)
    assert result.iterations == 2
    assert recorded.events[1:-1] == [
        ("iteration", 1, False),
        ("validation", 2, 2),
        ("iteration", 2, True),
        ("checkpoint", 2),
    ]


@pytest.mark.ray
def test_an_error_of_a_callback_ends_the_run_with_its_row_written(bars, tmp_path, ray_instance):
    class Failing(Recorded):
        def on_iteration(self, run, row):
            super().on_iteration(run, row)
            if row["iteration"] == 3:
                raise ValueError("no disk")

    recorded, out = Failing(), tmp_path / "run"
    with pytest.raises(ValueError, match="no disk"):
        trained(bars, out, recorded)
    assert recorded.events[-1] == ("end", "failed", "no disk")
    assert [row["iteration"] for row in RunFolder(out).progress()] == [1, 2, 3]
    assert trained(bars, out, resume=True).iterations == 6
    assert [row["iteration"] for row in RunFolder(out).progress()] == list(range(1, 7))

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.sweep.folder import RESULTS, SweepFolder
from rllib_tactical.sweep.tune_callback import Recorder
from tests.sweep.conftest import LR, parse

KEY = next(iter(LR))
FEW = {"training": {"iterations": 2}}


@dataclass
class TuneTrial:
    """What the recorder reads of a trial of Ray Tune."""

    number: int
    last_result: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def trial_id(self) -> str:
        return f"abc_{self.number:05d}"

    @property
    def config(self) -> dict[str, Any]:
        return {KEY: 0.0005}

    def get_pickled_error(self) -> Exception | None:
        return self.error


class Recording:
    """A recorder on a folder, driven as Tune drives it."""

    def __init__(self, path: Path, **sweep: Any) -> None:
        path.mkdir(exist_ok=True)
        self.folder = SweepFolder(place_of(path))
        self.folder.read_history()
        self.lines: list[str] = []
        self.spec = parse(**{"samples": 2, "config": FEW} | sweep)
        self.recorder = Recorder(self.spec, self.folder, self.lines.append)

    def start(self, number: int = 0) -> None:
        self.recorder.on_trial_start(0, [], TuneTrial(number))

    def result(self, iteration: int, net_pnl: float, number: int = 0, **more: Any) -> None:
        found = {
            "number": number,
            "iteration": iteration,
            "net_pnl": net_pnl,
            "trades": 12,
            "temperature_scale": 0.5,
            "env_steps": 256 * iteration,
            "train_pnl": 1.0,
            "seconds": 3.0,
            "drawn": json.dumps({KEY: 0.0005}),
        }
        self.recorder.on_trial_result(0, [], TuneTrial(number), found | more)

    def complete(self, number: int = 0, last: dict[str, Any] | None = None) -> None:
        self.recorder.on_trial_complete(0, [], TuneTrial(number, last or {}))

    @property
    def events(self) -> list[dict[str, Any]]:
        text = (self.folder.local / RESULTS).read_text()
        return [json.loads(line) for line in text.splitlines()]


def test_a_result_is_written_and_printed_once(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "s")
    recording.start()
    recording.result(1, 1_234.5)
    recording.result(1, 1_234.5)
    started, result = recording.events
    assert started == {"event": "started", "trial": 0, "params": {KEY: 0.0005}}
    assert (result["iteration"], result["net_pnl"], result["params"]) == (1, 1_234.5, {KEY: 0.0005})
    assert recording.lines == ["trial 0: iteration 1/2, validation $1,234 in 12 trades"]


def test_a_sweep_that_goes_on_does_not_repeat_what_is_known(tmp_path: Path) -> None:
    first = Recording(tmp_path / "s")
    first.start()
    first.result(1, 10.0)
    again = Recording(tmp_path / "s")
    again.start()
    again.result(1, 10.0)
    again.result(2, 20.0)
    assert [event.get("iteration") for event in again.events] == [None, 1, 2]
    assert len(again.lines) == 1


def test_a_member_of_a_population_may_reach_an_iteration_twice(tmp_path: Path) -> None:
    recording = Recording(
        tmp_path / "s",
        scheduler="pbt",
        pbt={"interval": 1},
        config={"training": {"iterations": 2, "checkpoint_every": 1}},
    )
    recording.start()
    recording.result(1, 10.0)
    recording.result(1, 30.0, taken_from=1, taken_at=1)
    assert [event["net_pnl"] for event in recording.events[1:]] == [10.0, 30.0]
    assert recording.events[-1]["taken_from"] == 1


def test_how_a_trial_ended_is_recorded(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "s", samples=4)
    for number in range(4):
        recording.start(number)
    recording.result(2, 50.0, number=0)
    recording.complete(0)
    recording.result(1, 40.0, number=1)
    recording.complete(1)
    recording.complete(2, {"refused": "batch_size must not exceed 128"})
    lost = TuneTrial(3, error=RuntimeError("first line\nlast line"))
    recording.recorder.on_trial_error(0, [], lost)
    assert [(trial.status, trial.reason) for trial in recording.folder.history.values()] == [
        ("finished", None),
        ("stopped early", None),
        ("failed", "batch_size must not exceed 128"),
        ("failed", "last line"),
    ]
    assert recording.lines[-1].startswith(
        "trial 3 failed: last line; best is trial 0 with $50; 4 of 4 done, left 0:00"
    )


def test_an_end_is_recorded_once(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "s")
    recording.start()
    recording.result(2, 50.0)
    recording.complete()
    recording.recorder.on_trial_error(0, [], TuneTrial(0))
    assert [event["event"] for event in recording.events] == ["started", "result", "ended"]
    assert recording.folder.history[0].status == "finished"


@pytest.mark.parametrize(
    ("error", "reason"), [(None, "its process was lost"), (MemoryError(), "MemoryError")]
)
def test_a_trial_that_fails_without_a_message_has_a_reason(
    tmp_path: Path, error: Exception | None, reason: str
) -> None:
    recording = Recording(tmp_path / "s")
    recording.start()
    recording.recorder.on_trial_error(0, [], TuneTrial(0, error=error))
    assert recording.folder.history[0].reason == reason

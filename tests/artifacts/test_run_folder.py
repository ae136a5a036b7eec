"""A run folder: what was written stays readable, whatever cut the writing short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.artifacts.run_folder import (
    RunFolder,
    StartPoint,
    lines_until,
    read_checkpoint,
    read_weights,
    score_of,
)
from rllib_tactical.errors import UnreadableError, UsageError

WEIGHTS = {"fvg.out.bias": np.array([1.0, -2.0, 0.5], dtype=np.float32)}


def save(
    folder: RunFolder,
    iteration: int,
    net_pnl: float | None = None,
    ahead: int = 0,
    **options: Any,
) -> Path:
    validation = None if net_pnl is None else {"net_pnl": net_pnl, "sharpe": -net_pnl}
    state = {"env_steps": 100 * iteration, "validation": validation}
    state |= {"ahead": ahead} if ahead else {}
    options = {"keep": 2, "save_rllib": lambda path: Path(path).mkdir(), **options}
    return folder.save(iteration, WEIGHTS, state, **options)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.start({"config": {}, "data": []})
    return made


def kept(folder: RunFolder) -> list[str]:
    return [path.name for path in folder.checkpoints()]


def test_a_run_without_a_checkpoint_starts_at_the_beginning(folder: RunFolder) -> None:
    assert folder.start_point() == StartPoint(None, 0, 0)
    assert folder.best() is None
    assert folder.progress() == folder.validations() == []


def test_a_run_goes_on_from_its_newest_checkpoint(folder: RunFolder) -> None:
    path = save(folder, 7)
    assert path.name == "000007"
    assert folder.start_point() == StartPoint(path, 7, 700, ahead=0)
    np.testing.assert_array_equal(read_weights(path)["fvg.out.bias"], WEIGHTS["fvg.out.bias"])


def test_the_newest_the_best_and_the_pending_checkpoints_are_kept(folder: RunFolder) -> None:
    for iteration, net_pnl in enumerate((10.0, 50.0, None, 20.0, 30.0), start=1):
        save(folder, iteration, net_pnl, pending=3)
    assert kept(folder) == ["000002", "000003", "000004", "000005"]
    assert folder.best() == folder.checkpoint(2)
    save(folder, 6)
    assert kept(folder) == ["000002", "000005", "000006"]


def test_a_thinned_run_has_the_newest_and_the_best_checkpoint(folder: RunFolder) -> None:
    for iteration, net_pnl in enumerate((1.0, 9.0, 2.0, 3.0), start=1):
        save(folder, iteration, net_pnl, keep=10)
    folder.thin()
    assert kept(folder) == ["000002", "000004"]
    folder.thin()
    assert kept(folder) == ["000002", "000004"]


def test_what_is_best_is_said_by_the_configuration(folder: RunFolder) -> None:
    for iteration in (1, 2):
        save(folder, iteration, 10.0 * iteration)
    assert folder.best() == folder.checkpoint(2)
    folder.set_config({"training": {"validation": {"best_by": "sharpe"}}}, "0" * 64)
    assert folder.best() == folder.checkpoint(1)
    assert folder.read()["config_hash"] == "0" * 64
    assert score_of({"sharpe": None}, "sharpe") is None


def test_a_validation_that_comes_late_is_added_to_its_checkpoint(folder: RunFolder) -> None:
    path = save(folder, 1)
    folder.add_validation(1, {"net_pnl": 5.0})
    folder.add_validation(2, {"net_pnl": 9.0})  # that checkpoint is not there any more
    assert read_checkpoint(path) == {
        "iteration": 1,
        "env_steps": 100,
        "validation": {"net_pnl": 5.0},
    }
    assert folder.best() == path


def test_a_checkpoint_that_fails_leaves_the_others_as_they_were(folder: RunFolder) -> None:
    save(folder, 1)

    def fail(path: str) -> None:
        Path(path).mkdir()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        save(folder, 2, save_rllib=fail)
    assert kept(folder) == ["000001"]
    assert [path.name for path in (folder.path / "checkpoints").iterdir()] == ["000001"]


def test_what_a_killed_process_left_half_written_is_removed(folder: RunFolder) -> None:
    left = folder.path / "checkpoints" / ".writing-x"
    left.mkdir(parents=True)
    save(folder, 1)
    assert not left.exists()
    again = save(folder, 1, net_pnl=3.0)  # the same iteration once more replaces it
    assert read_checkpoint(again)["validation"]["net_pnl"] == 3.0
    assert kept(folder) == ["000001"]


def test_a_line_cut_short_by_a_crash_is_left_out(folder: RunFolder) -> None:
    for iteration in (1, 2):
        folder.append_progress({"iteration": iteration})
    path = folder.path / "progress.jsonl"
    path.write_text(path.read_text() + '{"iteration": 3, "pn')
    assert folder.progress() == [{"iteration": 1}, {"iteration": 2}]
    with pytest.raises(ValueError, match="JSON"):
        folder.append_validation({"net_pnl": float("nan")})


def test_rows_and_rollouts_after_the_start_are_dropped(folder: RunFolder) -> None:
    rollouts = folder.path / "rollouts"
    rollouts.mkdir()
    for iteration in (1, 2, 3):
        folder.append_progress({"iteration": iteration})
        folder.append_validation({"iteration": 1, "known_at": iteration})
        (rollouts / f"{iteration:06d}-00.parquet").touch()
    folder.drop_after(StartPoint(None, 2, 200))
    assert [row["iteration"] for row in folder.progress()] == [1, 2]
    assert [row["known_at"] for row in folder.validations()] == [1, 2]
    assert sorted(path.name[:6] for path in rollouts.iterdir()) == ["000001", "000002"]


def test_rollouts_that_were_sampled_ahead_of_a_checkpoint_are_kept(folder: RunFolder) -> None:
    rollouts = folder.path / "rollouts"
    rollouts.mkdir()
    for iteration in (1, 2, 3, 4):
        (rollouts / f"{iteration:06d}-01.parquet").touch()
    save(folder, 2, ahead=1)
    folder.drop_after(folder.start_point())
    assert sorted(path.name[:6] for path in rollouts.iterdir()) == ["000001", "000002", "000003"]


def test_lines_are_kept_as_they_were_written() -> None:
    lines = ['{"a": 1.0,  "n": 1}\n', "half", "[]", '{"n": 2}', '{"other": 9}']
    assert lines_until(lines, "n", 1) == '{"a": 1.0,  "n": 1}\n{"other": 9}\n'


def test_damaged_files_are_named(folder: RunFolder) -> None:
    path = save(folder, 1)
    for file, read in (
        (path / "checkpoint.json", lambda: read_checkpoint(path)),
        (folder.path / "run.json", folder.read),
    ):
        for text, words in (("{", "not valid JSON"), ("[]", "must hold an object, found list")):
            file.write_text(text)
            with pytest.raises(UnreadableError, match=f"{file.name}: {words}"):
                read()
        file.unlink()
        with pytest.raises(UnreadableError, match="cannot be read: No such file"):
            read()
    (path / "actors.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableError, match="no readable actor weights"):
        read_weights(path)


def test_the_run_file_is_plain_json(folder: RunFolder) -> None:
    text = (folder.path / "run.json").read_text()
    assert json.loads(text) == {"config": {}, "data": []}
    assert text.endswith("\n")


def test_a_run_is_never_started_over_another(folder: RunFolder) -> None:
    with pytest.raises(UsageError):
        folder.start({})
    assert folder.read() == {"config": {}, "data": []}

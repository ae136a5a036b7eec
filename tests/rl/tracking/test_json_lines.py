"""Rows of a run as lines, from which reports are made and runs go on."""

import json

from rllib_tactical.artifacts.run_folder import RunFolder, StartPoint
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.rl.tracking.json_lines import JsonLinesLogger
from rllib_tactical.rl.training.callbacks import TrainingRun


def started(folder, iteration=0):
    run = TrainingRun(RunFolder(folder), TacticalConfig(), StartPoint(iteration=iteration))
    logger = JsonLinesLogger()
    logger.on_start(run)
    return logger, run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_is_on_disk_when_the_iteration_ends(tmp_path):
    logger, run = started(tmp_path)
    for k in (1, 2):
        logger.on_iteration(run, {"iteration": k, "pnl": 1.5 * k, "reward_fvg": None})
        assert lines(tmp_path / "progress.jsonl")[-1]["iteration"] == k
    logger.on_validation(run, {"iteration": 1, "known_at": 2, "net_pnl": 7.0})
    assert lines(tmp_path / "progress.jsonl") == [
        {"iteration": 1, "pnl": 1.5, "reward_fvg": None},
        {"iteration": 2, "pnl": 3.0, "reward_fvg": None},
    ]
    assert lines(tmp_path / "validation.jsonl") == [{"iteration": 1, "known_at": 2, "net_pnl": 7.0}]


def test_what_a_resumed_run_does_again_is_written_once(tmp_path):
    first, run = started(tmp_path)
    for k in (1, 2, 3, 4):
        first.on_iteration(run, {"iteration": k, "of": "first"})
        first.on_validation(run, {"iteration": k, "known_at": k + 1})
    second, again = started(tmp_path, iteration=2)  # the newest checkpoint
    second.on_iteration(again, {"iteration": 3, "of": "second"})
    rows = [(row["iteration"], row["of"]) for row in RunFolder(tmp_path).progress()]
    assert rows == [(1, "first"), (2, "first"), (3, "second")]
    # that of iteration 2 was not known yet at the checkpoint
    assert [row["iteration"] for row in RunFolder(tmp_path).validations()] == [1]

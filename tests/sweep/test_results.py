from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.sweep.folder import SWEEP, SweepFolder
from rllib_tactical.sweep.history import FAILED, FINISHED, TrialHistory
from rllib_tactical.sweep.results import Conclusion, judge_best, result_lines, short, summary
from tests.market import INSTRUMENT
from tests.sweep.conftest import parse

DAYS = 40


def trial(number: int, net_pnl: float | None, status: str = FINISHED) -> TrialHistory:
    result = {
        "iteration": 2,
        "net_pnl": net_pnl,
        "seconds": 60.0,
        "trades": 30,
        "temperature_scale": 0.5,
        "env_steps": 512,
    }
    results = {} if net_pnl is None else {2: result}
    return TrialHistory(number, {"training.actor_lr": 0.00025}, results, status)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / SWEEP).write_text(json.dumps({"identity": "abc"}))
    folder = SweepFolder(place_of(tmp_path))
    failed = dataclasses.replace(trial(2, None, FAILED), reason="no room")
    folder.history = {0: trial(0, 100.0), 1: trial(1, 1_500.0), 2: failed}
    return folder


def columns(days: int = DAYS) -> pd.DataFrame:
    """Return daily P&L of two trials at two scales, of which trial 1 earns."""
    rng = np.random.default_rng(3)
    names = [f"trial {number}, scale {scale}" for number in (0, 1) for scale in ("1", "0.5")]
    noise = pd.DataFrame(rng.normal(0.0, 100.0, (days, 4)), columns=names)
    return noise.assign(**{names[-1]: noise[names[-1]] + 80.0})


def test_the_best_is_judged_by_its_days_and_deflated_by_all_columns() -> None:
    table, best = columns(), trial(1, 1_500.0)
    found = judge_best(best, table, TacticalConfig(), [INSTRUMENT])
    assert found is not None
    assert (found.days, found.trials) == (DAYS, 4)
    assert found.p_value is not None
    worse = judge_best(trial(0, 1.0), table, TacticalConfig(), [INSTRUMENT])
    assert worse is not None
    assert worse.p_value is not None
    assert found.p_value < worse.p_value


def test_nothing_is_judged_by_one_day_or_by_days_that_were_given_up() -> None:
    best = trial(1, 1_500.0)
    assert judge_best(best, columns(days=1), TacticalConfig(), [INSTRUMENT]) is None
    without = columns().drop(columns="trial 1, scale 0.5")
    assert judge_best(best, without, TacticalConfig(), [INSTRUMENT]) is None


def test_the_summary_has_every_trial(folder: SweepFolder) -> None:
    found = summary(parse(), folder, Conclusion(folder.history[1], None, None, None))
    assert (found["identity"], found["best_trial"], found["best_net_pnl"]) == ("abc", 1, 1_500.0)
    assert found["bundle_id"] is None
    rows = {row["trial"]: row for row in found["trials"]}
    assert (rows[1]["net_pnl"], rows[1]["best_iteration"], rows[1]["env_steps"]) == (1_500, 2, 512)
    assert (rows[2]["status"], rows[2]["reason"], rows[2]["net_pnl"]) == (FAILED, "no room", None)
    json.dumps(found, allow_nan=False)


def test_the_end_of_a_sweep_ranks_the_trials_and_says_what_to_do_next(
    folder: SweepFolder,
) -> None:
    lines = result_lines(Conclusion(folder.history[1], None, None, None), folder)
    assert lines[2].split() == ["1", "1,500", "30", "2", "training.actor_lr", "0.00025"]
    assert lines[3].split()[0] == "0"
    assert "1 trials failed; summary.json says why" in lines
    assert "best: trial 1, $1,500 on the validation bars that chose it" in lines
    assert any(line.startswith("make a bundle: tactical export") for line in lines)


def test_a_long_ranking_is_cut_at_ten(folder: SweepFolder) -> None:
    folder.history = {number: trial(number, float(number)) for number in range(13)}
    lines = result_lines(Conclusion(folder.history[12], None, None, None), folder)
    assert [line.split()[0] for line in lines[2:12]] == [str(n) for n in range(12, 2, -1)]
    assert lines[12] == "... and 3 more"


def test_values_are_short() -> None:
    assert (short(0.000123456), short([8, 16]), short("x")) == ("0.0001235", "[8, 16]", "x")

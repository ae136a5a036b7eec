"""Where the plan of a sweep comes from, and what options change in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.tune import tune_command
from rllib_tactical.errors import UnreadableError, UsageError
from rllib_tactical.sweep.runner import Sweep


def run(folder: Path, *more: object) -> Result:
    words = ["--data", folder / "TQQQ_5m.csv", "--out", folder / "sweep", *more]
    return CliRunner().invoke(tune_command, [str(word) for word in words])


def test_options_change_the_plan(
    tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Sweep, bool]] = []

    def sweep(asked_for: Sweep, resume: bool, log: Any) -> Any:
        asked.append((asked_for, resume))
        raise KeyboardInterrupt

    monkeypatch.setattr("rllib_tactical.cli.tune.run_sweep", sweep)
    plan = project_root / "tune_configs" / "smoke.yaml"
    run(tmp_path, "--sweep", plan, "--samples", 3, "--seed", 8, "--max-concurrent", 1)
    ((found, resume),) = asked
    assert not resume
    assert (found.spec.samples, found.spec.seed, found.spec.max_concurrent) == (3, 8, 1)
    assert found.bar_seconds == 300


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ([], UsageError, "--sweep is required, unless --resume continues a sweep"),
        (["--config", "tactical.yaml"], UsageError, "--config goes with --sweep"),
        (["--sweep", "none.yaml"], UnreadableError, "none.yaml"),
    ],
)
def test_without_a_plan_nothing_starts(
    tmp_path: Path, more: list[str], error: type[Exception], words: str
) -> None:
    done = run(tmp_path, *more)
    assert isinstance(done.exception, error)
    assert words in str(done.exception)
    assert not (tmp_path / "sweep").exists()

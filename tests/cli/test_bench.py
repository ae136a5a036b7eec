from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rllib_tactical.bench import market
from rllib_tactical.bench.measurement import Baseline, Measurement, Row
from rllib_tactical.cli import bench as command
from rllib_tactical.errors import UsageError
from rllib_tactical.study import LearningSize
from rllib_tactical.study.experiments import QUESTIONS
from tests.study.results import keep_all

ROWS = [
    Row(
        name="speed",
        unit="bars/s",
        measurement=Measurement(1_234.0, 1_000.0, 2_000.0),
        target=1_000.0,
        baselines=(Baseline("absent", None, "not installed: pip install -e '.[bench]'"),),
    )
]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_sections(names: tuple[str, ...], progress: Any, record: Any) -> None:
        print("what Ray says about a worker")
        for row in ROWS:
            record("market", row)

    monkeypatch.setattr(command, "run_sections", run_sections)


@pytest.mark.usefixtures("measured")
def test_prints_a_table_with_verdict_and_reason() -> None:
    result = CliRunner().invoke(command.bench_command, ["--section", "market"])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if "speed" in line]
    assert "1,234" in line
    assert "met" in line
    assert "not available" in result.output
    assert "absent: not installed: pip install -e '.[bench]'" in result.output


@pytest.mark.usefixtures("measured")
def test_writes_and_prints_json_with_machine_facts(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    result = CliRunner().invoke(command.bench_command, ["--json", "--out", str(out)])
    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text())
    assert json.loads(result.stdout) == document
    assert document["sections"]["market"][0]["met"] is True
    assert document["complete"] is True
    assert {"cpu", "cores", "python", "numpy"} <= set(document["machine"])
    assert str(tmp_path) not in out.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_measured_by_then_is_kept_when_it_is_stopped(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bench.json"
    seen: list[Any] = []
    closed: list[bool] = []

    def measure(size: Any, progress: Any) -> Iterator[Row]:
        try:
            yield ROWS[0]
            seen.append(json.loads(out.read_text()))  # before the section ends
            os.kill(os.getpid(), number)
            time.sleep(10.0)
        finally:
            closed.append(True)

    monkeypatch.setattr(market, "measure_market", measure)
    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(
        command.bench_command, ["--section", "market", "--section", "engine", "--out", str(out)]
    )
    assert (result.exit_code, closed) == (1, [True])
    assert "1,234" in result.output
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["sections"]["market"]] == ["speed"]
    assert document["complete"] is False
    assert seen[0]["sections"] == document["sections"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("section", sorted(set(command.SECTIONS) - {"sweep", command.LEARNING}))
def test_every_section_gives_its_rows_as_they_come(section: str) -> None:
    """One comparison makes both rows of the sweep; the study keeps its runs itself."""
    module, function, _ = command.SECTIONS[section]
    assert inspect.isgeneratorfunction(getattr(importlib.import_module(module), function))


def test_an_unknown_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "missing" / "bench.json"
    with pytest.raises(UsageError, match="there is no folder"):
        CliRunner().invoke(command.bench_command, ["--out", str(out)], catch_exceptions=False)


def test_an_unknown_section_is_a_usage_error() -> None:
    assert CliRunner().invoke(command.bench_command, ["--section", "moon"]).exit_code == 2


def test_the_printed_table_has_room_for_names_with_sizes(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, questions=("agents",), seeds=1)
    keep_all(tmp_path, size.runs(QUESTIONS["agents"]))
    asked = ["--section", "learning", "--results", str(tmp_path), "--minutes", "0"]
    result = CliRunner().invoke(command.bench_command, asked)
    assert result.exit_code == 0, result.output
    name = "agents: momentum, momentum neutral, own scale"
    kind = "(409,600 steps, 400,000 training bars, 200 sessions), paired"
    assert f"{name} {kind}" in result.output
    assert "…" not in result.output


def test_a_study_goes_with_its_section_only() -> None:
    with pytest.raises(UsageError, match="go with --section learning"):
        CliRunner().invoke(command.bench_command, ["--seeds", "2"], catch_exceptions=False)
    assert "learning" not in command.DEFAULT_SECTIONS


def test_bars_and_difficulty_are_those_of_the_runs(tmp_path: Path) -> None:
    size = LearningSize(
        folder=tmp_path, questions=("agents",), seeds=1, train_bars=90_000, difficulty=0.5
    )
    keep_all(tmp_path, size.runs(QUESTIONS["agents"]))
    asked = ["--section", "learning", "--results", str(tmp_path), "--question", "agents"]
    asked += ["--seeds", "1", "--train-bars", "90000", "--difficulty", "0.5"]
    result = CliRunner().invoke(command.bench_command, asked)
    assert result.exit_code == 0, result.output
    assert "3 of 3 runs are finished" in result.output

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

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
    def run_sections(names: tuple[str, ...], progress: Any) -> dict[str, list[Row]]:
        print("what Ray says about a worker")
        return {"market": ROWS}

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
    assert {"cpu", "cores", "python", "numpy"} <= set(document["machine"])
    assert str(tmp_path) not in out.read_text()


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

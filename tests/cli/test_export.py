"""What the command passes on, and which folders it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.export import export_command
from rllib_tactical.errors import UnreadableError, UsageError


def run(*words: object) -> Result:
    return CliRunner().invoke(export_command, [str(word) for word in words])


def test_a_run_is_exported_with_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def export(*arguments: Any) -> Any:
        asked.append(arguments)
        return SimpleNamespace(bundle_id="ab" * 32)

    monkeypatch.setattr("rllib_tactical.cli.export.export_run", export)
    source, out = tmp_path / "run", tmp_path / "bundle"
    source.mkdir()
    done = run(source, "--out", out, "--instrument", "TQQQ", "--parent", "before")
    assert done.exit_code == 0, done.output
    assert asked == [(source, out, "TQQQ", Path("before"))]
    assert done.output == f"bundle {'ab' * 32} in {out}\n"


def test_a_trial_is_of_a_sweep(tmp_path: Path) -> None:
    done = run(tmp_path, "--out", tmp_path / "b", "--trial", 3)
    assert isinstance(done.exception, UsageError)
    assert f"--trial goes with the folder of a sweep, {tmp_path} is none" in str(done.exception)


def test_a_folder_without_a_run_leaves_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", "--out", tmp_path / "b")
    assert isinstance(done.exception, UnreadableError | UsageError)
    assert not (tmp_path / "b").exists()

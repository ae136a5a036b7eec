"""The commit and the versions that a result is marked with."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from rllib_tactical.artifacts import versions
from rllib_tactical.artifacts.versions import git_commit, library_versions


def test_a_commit_has_forty_digits_and_says_when_files_differ() -> None:
    found = git_commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found)


def test_without_git_or_a_repository_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: Iterator[Exception | subprocess.CompletedProcess[str]] = iter(
        [
            FileNotFoundError("git"),
            subprocess.TimeoutExpired("git", 5),
            subprocess.CompletedProcess([], 128, "", "fatal: not a git repository"),
            subprocess.CompletedProcess([], 0, "a" * 40 + "\n", ""),
        ]
    )

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    assert [git_commit() for _ in range(4)] == [None, None, None, "a" * 40]


def test_a_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "LIBRARIES", ("numpy", "no-such-library"))
    assert library_versions() == {"python": platform.python_version(), "numpy": version("numpy")}

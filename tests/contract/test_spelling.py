"""The spelling that `make lint` asks for: American, and the field's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _codespell(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "codespell", "-"],
        cwd=root,
        input=text,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("keep" + "er", "coordinator"),
        ("ta" + "pe", "market history"),
        ("col" + "our", "color"),
        ("behavi" + "our", "behavior"),
        ("normal" + "ise", "normalize"),
        ("recie" + "ve", "receive"),
    ],
)
def test_a_word_to_replace_is_found(project_root: Path, word: str, instead: str) -> None:
    done = _codespell(project_root, f"The {word} of the market.\n")
    assert done.returncode != 0
    assert f"{word} ==> {instead}" in done.stdout


def test_names_that_others_know_are_kept(project_root: Path) -> None:
    text = "flags.writeable, unauthorised, a color of the market history"
    assert _codespell(project_root, text).returncode == 0

"""The what-if table is a teacher's knowledge: nothing that decides, measures or serves reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TEACHER: Final = "rllib_tactical.domain.simulation.what_if"

READERS: Final = {
    TEACHER: {"rllib_tactical/rl/algorithm/teacher.py"},
    "rllib_tactical.rl.algorithm.teacher": {
        "rllib_tactical/rl/algorithm/counterfactual.py",
        "rllib_tactical/rl/algorithm/pretraining.py",
    },
}
"""Modules of the product that may read it, directly or from the learner's teacher."""


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", READERS)
def test_only_the_learner_imports_it(module: str, project_root: Path) -> None:
    """No environment, env runner, validation, backtest, bundle or service does."""
    found = {
        str(file.relative_to(project_root))
        for root in ("rllib_tactical", "envs", "serve")
        for file in (project_root / root).rglob("*.py")
        if module in set(imported(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert found == READERS[module]


def test_every_way_to_import_it_is_seen() -> None:
    package, _, name = TEACHER.rpartition(".")
    for line in (
        f"import {TEACHER}",
        f"from {TEACHER} import WhatIf",
        f"from {package} import {name}",
        f"def f():\n    import {TEACHER} as teacher",
    ):
        assert TEACHER in set(imported(ast.parse(line)))

"""The what-if table is a teacher's knowledge: nothing that decides, measures or serves reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TEACHER: Final = "rllib_tactical.domain.simulation.what_if"

READERS: Final = {
    TEACHER: {
        "rllib_tactical/rl/algorithm/teacher.py",
        "rllib_tactical/rl/algorithm/pretraining.py",  # the learner's; only which columns it has
        # the oracle solves a reference market of its own, never the one that it is measured on
        "rllib_tactical/synthetic/dynamic.py",
    },
    "rllib_tactical.rl.algorithm.teacher": {
        "rllib_tactical/rl/algorithm/counterfactual.py",
        "rllib_tactical/rl/algorithm/pretraining.py",
    },
}
"""Modules of the product that may read it, directly or from the learner's teacher."""

ORACLE: Final = "rllib_tactical.synthetic.dynamic"
ORACLE_READERS: Final = {
    "rllib_tactical/cli/data_make.py",
    "rllib_tactical/study/scoring.py",
    "rllib_tactical/synthetic/coupled.py",  # the oracle of four such markets
}
"""What compares with the oracle of synthetic markets: nothing that decides."""


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def readers_of(module: str, project_root: Path) -> set[str]:
    return {
        str(file.relative_to(project_root))
        for root in ("rllib_tactical", "envs", "serve")
        for file in (project_root / root).rglob("*.py")
        if module in set(imported(ast.parse(file.read_text(encoding="utf-8"))))
    }


@pytest.mark.slow
@pytest.mark.parametrize("module", READERS)
def test_only_the_learner_and_the_oracle_import_it(module: str, project_root: Path) -> None:
    """No environment, env runner, validation, backtest, bundle or service does."""
    assert readers_of(module, project_root) == READERS[module]


@pytest.mark.slow
def test_nothing_that_decides_knows_the_oracle(project_root: Path) -> None:
    assert readers_of(ORACLE, project_root) == ORACLE_READERS


def test_every_way_to_import_it_is_seen() -> None:
    package, _, name = TEACHER.rpartition(".")
    for line in (
        f"import {TEACHER}",
        f"from {TEACHER} import WhatIf",
        f"from {package} import {name}",
        f"def f():\n    import {TEACHER} as teacher",
    ):
        assert TEACHER in set(imported(ast.parse(line)))

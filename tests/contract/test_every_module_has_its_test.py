"""Each module with logic has a test file of its own name, at the same path below tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOTS: Final = ("rllib_tactical", "envs", "serve")

EXEMPT: Final = frozenset(
    {
        # both hand their arguments to a command, which tests/cli has, and do nothing else; the
        # runs that tests/rl/test_resume.py kills are started by the first
        "rllib_tactical/train.py",
        "rllib_tactical/tune.py",
    }
)


def has_logic(module: ast.Module) -> bool:
    """Return whether a function is defined, alone or in a class."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return any(
        isinstance(node, functions)
        or (isinstance(node, ast.ClassDef) and any(isinstance(n, functions) for n in node.body))
        for node in module.body
    )


def modules(project_root: Path) -> Iterator[Path]:
    """Yield the modules with logic, relative to the project."""
    for root in ROOTS:
        for file in sorted((project_root / root).rglob("*.py")):
            path = file.relative_to(project_root)
            if path.name.startswith("__"):
                continue
            if has_logic(ast.parse(file.read_text(encoding="utf-8"))):
                yield path


def place_of_tests(module: Path) -> Path:
    """Return where the tests of a module stand."""
    inside = module.relative_to("rllib_tactical") if module.parts[0] == "rllib_tactical" else module
    return Path("tests") / inside.parent / f"test_{inside.name}"


@pytest.mark.slow
def test_every_module_with_logic_has_a_test_of_its_name(project_root: Path) -> None:
    missing = {
        str(module)
        for module in modules(project_root)
        if not (project_root / place_of_tests(module)).is_file()
    }
    assert missing == EXEMPT  # an exemption that is no longer needed goes too


def test_types_alone_need_no_test() -> None:
    data = "class A:\n    x: int = 3\nY = [A]\n"
    assert not has_logic(ast.parse(data))
    assert has_logic(ast.parse(data + "def f(): ...\n"))
    assert has_logic(ast.parse("class A:\n    async def f(self): ...\n"))
    assert place_of_tests(Path("serve/state/bars.py")) == Path("tests/serve/state/test_bars.py")
    inside = Path("rllib_tactical/config/loader.py")
    assert place_of_tests(inside) == Path("tests/config/test_loader.py")

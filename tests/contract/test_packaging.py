"""What an installation brings: declared packages, extras, the files of the wheel."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from rllib_tactical.cli.main import main

PACKAGES = ("rllib_tactical", "envs", "serve")
BASE = {"click", "msgspec", "numpy", "pydantic", "pyyaml"}
EXTRAS = {
    "demo": "serve,train",
    "data": "data",
    "instruments": "data",
    "features": "data",
    "train": "train",
    "tune": "train",
    "export": "train",
    "backtest": "report",
    "evaluate": "train",
    "selftest": "report",
    "drift": "report",
    "adapt": "registry,train",
    "registry": "registry",
    "promote": "registry",
    "rollback": "registry",
    "runs": "train",
    "serve": "serve",
    "paper": "report",
    "state": "serve",
    "bus": "redis",
    "notify": "notify",
    "decisions": "serve",
    "replay": "serve",
    "explain": "serve",
    "bench": "serve,train",
}

# Runs the command line in an interpreter that finds no package for which HIDDEN holds.
HIDING = """
import sys
kept = {*sys.stdlib_module_names, "click", "msgspec", "numpy", "pydantic", "pydantic_core", "yaml"}
kept |= {"annotated_types", "typing_extensions", "typing_inspection"}  # which pydantic brings
kept |= {"rllib_tactical", "envs", "serve"}

class Hide:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Hide())
from rllib_tactical.cli.main import run
run(sys.argv[1:])
"""


def _tactical_without(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where no package is found for which the expression ``hidden`` holds.

    It is not measured: a process that is has imported the sources, and what they need, before.
    """
    code = HIDING.replace("HIDDEN", hidden)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=clean
    )


def _project(root: Path) -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return project


def _normal(requirement: str) -> str:
    """Return the distribution's name of a requirement, in the form PyPI compares."""
    name = requirement
    for mark in "[=<>!~; ":
        name = name.partition(mark)[0]
    return name.lower().replace("_", "-")


def _declared(root: Path, *extras: str) -> set[str]:
    """Return the distributions that the base and ``extras`` name, extras of extras included."""
    project = _project(root)
    table = project["optional-dependencies"]
    assert isinstance(table, dict)
    names: set[str] = {_normal(entry) for entry in project["dependencies"]}  # type: ignore[attr-defined]
    for extra in extras:
        for entry in table[extra]:
            if entry.startswith("rllib-tactical["):
                inner = entry.partition("[")[2].partition("]")[0]
                names |= _declared(root, *inner.split(","))
            else:
                names.add(_normal(entry))
    return names


def _third_party_imports(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file with a top-level package that it imports, anywhere in its code."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                else:
                    continue
                for name in names:
                    top = name.partition(".")[0]
                    if top not in sys.stdlib_module_names and top not in PACKAGES:
                        yield file, top


@pytest.mark.slow
def test_every_imported_package_is_declared(project_root: Path) -> None:
    extras = (
        "serve",
        "redis",
        "notify",
        "registry",
        "train",
        "mlflow",
        "bench",
        "databento",
        "nautilus",
    )
    declared = _declared(project_root, *extras)
    # jinja2 and Ray Serve bring these two; both belong to their published interface.
    declared |= {"markupsafe", "uvicorn"}
    owners = {"mlflow": ["mlflow-skinny"], **packages_distributions()}
    for file, package in _third_party_imports(project_root):
        names = {_normal(name) for name in owners.get(package, [package])}
        assert names & declared, f"{file.relative_to(project_root)} imports {package}"


def test_the_client_extra_has_neither_torch_nor_ray(project_root: Path) -> None:
    assert _declared(project_root, "client") == BASE | {"httpx", "websockets"}
    assert not {"ray", "torch"} & _declared(project_root, "report")
    assert "torch" not in _declared(project_root, "serve")


@pytest.mark.parametrize("command", EXTRAS)
def test_a_missing_package_is_answered_with_the_extra_to_install(command: str) -> None:
    arguments = {
        "serve": ["--bundle", "nowhere"],
        "notify": ["--port", "0"],
        "features": ["nowhere.csv", "--out", "nowhere.parquet"],
    }.get(command, ["--help"])
    done = _tactical_without("package not in kept", command, *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: `tactical {command}` needs the extra")
    assert line.endswith(f": pip install 'rllib-tactical[{EXTRAS[command]}]'")


def test_every_command_has_its_extra() -> None:
    assert list(EXTRAS) == main.list_commands(click.Context(main))


def test_a_missing_module_of_the_project_is_no_missing_extra() -> None:
    done = _tactical_without("name == 'rllib_tactical.cli.features'", "features", "--help")
    assert done.returncode == 1
    assert "No module named 'rllib_tactical.cli.features'" in done.stderr
    assert "pip install" not in done.stderr


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the files that git knows or would add."""
    source = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=project_root,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        file = project_root / name
        if file.is_file() and not name.startswith("tests/"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(out), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_has_every_file_that_the_packages_read(project_root: Path, wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        file
        for package in PACKAGES
        for pattern in ("*.py", "*.yaml", "*.j2", "py.typed")
        for file in (project_root / package).rglob(pattern)
    ]
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    missing = {file.relative_to(project_root).as_posix() for file in wanted} - inside
    assert not missing
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


CLIENT = """
import importlib.metadata, importlib.util, json, sys
import serve.client
from serve.client import AsyncDecisionClient, DecisionClient, DecisionStream
import rllib_tactical.domain.simulation.simulator
print(json.dumps({
    "where": serve.client.__file__,
    "installed": [found.metadata["Name"].lower() for found in importlib.metadata.distributions()],
    "found": [name for name in ("torch", "ray", "pandas") if importlib.util.find_spec(name)],
}))
"""


@pytest.mark.slow
def test_a_client_installs_neither_torch_nor_ray(
    project_root: Path, wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = tmp_path / "env" / "bin" / "python"
    constraints = project_root / "constraints.txt"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", constraints, f"{wheel}[client]"],
        env=alone,
        capture_output=True,
        text=True,
    )
    if done.returncode and "No matching distribution found" in done.stderr:
        pytest.skip(f"pip reaches no package registry: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    probe = subprocess.run(
        [python, "-c", CLIENT], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert probe.returncode == 0, probe.stderr
    seen = json.loads(probe.stdout)
    assert seen["where"].startswith(str(tmp_path))
    assert {"httpx", "rllib-tactical", "websockets"} <= set(seen["installed"])
    assert seen["found"] == []
    assert not {"ray", "torch"} & set(seen["installed"])
    tactical = tmp_path / "env" / "bin" / "tactical"
    answer = subprocess.run(
        [tactical, "train", "--help"], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert "pip install 'rllib-tactical[train]'" in answer.stderr

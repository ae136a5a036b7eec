"""What a module loads when it is imported, measured in a fresh interpreter.

The import-linter contracts read the sources; these tests also see what third-party packages and
imports inside functions at module level bring along.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

HEAVY_FOR_DOMAIN = {
    "fastapi",
    "gymnasium",
    "pandas",
    "pydantic",
    "ray",
    "scipy",
    "torch",
}

HEAVY_FOR_CLIENT = HEAVY_FOR_DOMAIN | {"onnxruntime", "uvicorn"}

PROBE = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _loaded_after_importing(modules: list[str], root: Path) -> set[str]:
    """Return the top-level packages a fresh interpreter has loaded after importing ``modules``."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(modules)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def _modules(root: Path, *parts: str) -> list[str]:
    """Return the dotted names of a package and everything below it, or of a single module."""
    path = root.joinpath(*parts)
    files = [*path.rglob("*.py"), *([path.with_suffix(".py")] if not path.is_dir() else [])]
    names = []
    for file in sorted(file for file in files if file.is_file()):
        dotted = file.relative_to(root).with_suffix("").parts
        names.append(".".join(dotted[:-1] if dotted[-1] == "__init__" else dotted))
    return names


def test_domain_loads_no_framework(project_root: Path) -> None:
    modules = _modules(project_root, "rllib_tactical", "domain")
    assert "rllib_tactical.domain.types" in modules
    loaded = _loaded_after_importing(modules, project_root)
    assert "numpy" in loaded
    assert loaded & HEAVY_FOR_DOMAIN == set()


@pytest.mark.slow
def test_bundle_and_inference_load_no_ray(project_root: Path) -> None:
    bundle = _modules(project_root, "rllib_tactical", "bundle")
    assert "rllib_tactical.bundle.inference" in bundle
    assert "ray" not in _loaded_after_importing(bundle, project_root)


@pytest.mark.slow
def test_the_client_loads_neither_torch_nor_ray(project_root: Path) -> None:
    modules = _modules(project_root, "serve", "client")
    assert "serve.client.calls" in modules
    loaded = _loaded_after_importing(modules, project_root)
    assert {"httpx", "msgspec", "websockets"} <= loaded
    assert loaded & HEAVY_FOR_CLIENT == set()


def test_the_probe_sees_what_is_loaded(project_root: Path) -> None:
    assert "pandas" in _loaded_after_importing(["pandas"], project_root)


def test_every_package_has_its_place_in_the_layers(project_root: Path) -> None:
    contracts = _contracts(project_root)
    layers = {name for layer in contracts["layers"]["layers"] for name in layer.split(" | ")}
    package = project_root / "rllib_tactical"
    found = {path.stem for path in package.iterdir() if _is_module(path)} - {"__init__"}
    assert layers == {f"rllib_tactical.{name}" for name in found} | {"envs", "serve"}


def test_the_rule_about_click_names_every_package_but_the_command_line(project_root: Path) -> None:
    contracts = _contracts(project_root)
    below = {name for layer in contracts["layers"]["layers"][2:] for name in layer.split(" | ")}
    assert set(contracts["click-in-cli"]["source_modules"]) == below


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _contracts(root: Path) -> dict[str, Any]:
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}

"""What a module loads when it is imported, measured in a fresh interpreter.

The import-linter contracts read the sources; these tests also see what third-party packages and
imports inside functions at module level bring along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY_FOR_DOMAIN = {
    "fastapi",
    "gymnasium",
    "pandas",
    "pydantic",
    "ray",
    "scipy",
    "torch",
}

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


def test_bundle_and_inference_load_no_ray(project_root: Path) -> None:
    bundle = _modules(project_root, "rllib_tactical", "bundle")
    inference = _modules(project_root, "rllib_tactical", "inference")
    assert bundle, "rllib_tactical.bundle is missing"
    assert inference, "rllib_tactical.inference is missing"
    assert "ray" not in _loaded_after_importing(bundle + inference, project_root)


def test_the_probe_sees_what_is_loaded(project_root: Path) -> None:
    assert "pandas" in _loaded_after_importing(["pandas"], project_root)

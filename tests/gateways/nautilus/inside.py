"""Run a program in the environment of the gateway."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run_inside(python: str, root: Path, *arguments: str, **environment: str) -> str:
    """Run the environment's interpreter in the checkout; return what it printed."""
    done = subprocess.run(
        [python, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def suite_inside(python: str, root: Path, name: str, **environment: str) -> str:
    """Run one file of tests in the environment; return what pytest printed."""
    file = f"tests/gateways/nautilus/{name}.py"
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(root)]
    return run_inside(python, root, "-m", "pytest", *options, "--noconftest", file, **environment)

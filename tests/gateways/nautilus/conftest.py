"""The environment of the gateway: made once, by the target that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

PYTHON = "TACTICAL_NAUTILUS_PYTHON"


@pytest.fixture(scope="session")
def nautilus_python(project_root: Path) -> str:
    """Return the interpreter of ``make nautilus``, or the one that a variable names."""
    named = os.environ.get(PYTHON)
    if named:
        return named
    with FileLock(project_root / ".venv-nautilus.lock"):
        made = subprocess.run(
            ["make", "nautilus", f"PYTHON={sys.executable}"],
            cwd=project_root,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
    if made.returncode:
        said = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"make nautilus cannot install nautilus_trader: {said}")
    return str(project_root / ".venv-nautilus" / "bin" / "python")

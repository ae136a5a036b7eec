"""The modules of the page, tested by Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parent / "modules"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(MODULES.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_modules(path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the path")
    done = subprocess.run(
        [node, "--test", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# tests 0" not in done.stdout

"""The documentation site is built without a warning, and its picture is of these sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="comes with the extra docs")


SPHINX = ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(project_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *SPHINX, project_root / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rllib_tactical.rl.train" in (tmp_path / "site/reference/api.html").read_text()


def test_the_picture_of_the_architecture_shows_every_package(project_root: Path) -> None:
    sys.path.insert(0, str(project_root / "docs"))
    try:
        from _ext.layers import draw, packages  # type: ignore[import-not-found,unused-ignore]
    finally:
        sys.path.pop(0)
    written = (project_root / "docs" / "_static" / "architecture.svg").read_text(encoding="utf-8")
    for name in packages(project_root):
        assert f">{name}: " in draw(project_root)
        assert f">{name}: " in written, "run `make docs` and commit docs/_static/architecture.svg"

"""A picture of the page, taken by a browser of this machine without a window."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE: Final = (1366, 900)
BUDGET_MS: Final = 8_000
"""How long the page may take to draw itself, in the browser's own time."""

LIMIT_S: Final = 90.0


def find_browser() -> str | None:
    """Return a browser that can take pictures, None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def take_picture(url: str, path: Path, browser: str) -> bool:
    """Write a PNG file of a page that asks for no token; return whether there is one.

    Args:
        url: of the page.
        path: of the file.
        browser: from ``find_browser``.
    """
    width, height = SIZE
    with tempfile.TemporaryDirectory(prefix="tactical-picture-") as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--virtual-time-budget={BUDGET_MS}",
            f"--screenshot={path}",
            url,
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return path.is_file()

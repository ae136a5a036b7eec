"""Ray Serve's HAProxy listens on ports that are the same for every service of a machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock


def ports_of_serve() -> FileLock:
    """Return a lock for the time in which a test runs a real service."""
    return FileLock(Path(tempfile.gettempdir()) / "tactical-tests-serve.lock")

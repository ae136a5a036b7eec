"""Shared fixtures and the environment of every test.

Neither ray nor torch is imported here: the domain must be testable without them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# A job of a shell in the background ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any test module can import ray or a numerical library: they read these once. Ray's worker
# processes inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Without it a program joins the Ray cluster that was started last on this machine: that of another
# test, which ends before the program does.
os.environ.setdefault("RAY_ADDRESS", "local")

import pytest
from hypothesis import HealthCheck, settings

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# No deadline: on a shared two-core machine it measures the neighbors, not the code.
settings.register_profile(
    "local", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local")
)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the root folder of the checkout."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def real_data(project_root: Path) -> Path:
    """Return the folder of real market files: TACTICAL_DATA, else ../shared/data if there."""
    named = os.environ.get("TACTICAL_DATA")
    folder = Path(named) if named else project_root.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"TACTICAL_DATA must name a folder, found: {named}")
        pytest.skip("no real market files: set TACTICAL_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread wherever the test module has imported it; never import it here."""
    torch: ModuleType | None = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    yield

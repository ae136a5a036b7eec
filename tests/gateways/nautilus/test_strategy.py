"""The suite of gateways, and the strategy itself, in the gateway's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from tests.gateways.nautilus.inside import run_inside, suite_inside
from tests.live.conftest import bundle as bundle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "tests"), [("in_engine_conformance", 10), ("in_engine_strategy", 11)]
)
def test_it_passes_in_the_engine(
    name: str, tests: int, nautilus_python: str, project_root: Path, bundle: Bundle
) -> None:
    said = suite_inside(nautilus_python, project_root, name, TACTICAL_TEST_BUNDLE=str(bundle.path))
    assert f"{tests} passed" in said


ALONE = """
import sys
from pathlib import Path
import rllib_tactical.gateways.nautilus.strategy
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"ray", "torch", "scipy", "httpx", "rich", "uvicorn", "gymnasium"}))
"""


def test_it_loads_no_ray_and_no_torch(nautilus_python: str, project_root: Path) -> None:
    assert run_inside(nautilus_python, project_root, "-c", ALONE).strip() == "[]"

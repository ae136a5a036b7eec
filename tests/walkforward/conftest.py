from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from rllib_tactical.runtime.process import limit_threads
from tests.backtest.conftest import bundle, history  # noqa: F401  (fixtures)


@pytest.fixture(scope="package")
def ray_instance() -> Iterator[None]:
    """A Ray of two CPUs for the tests of this folder."""
    limit_threads()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )
    yield
    ray.shutdown()

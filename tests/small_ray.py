"""A Ray instance for tests: of this process alone, with two CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from rllib_tactical.runtime.process import limit_threads


@contextmanager
def small_ray() -> Iterator[None]:
    """Run Ray with two CPUs, whatever else runs on the machine."""
    limit_threads()
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )
    try:
        yield
    finally:
        ray.shutdown()

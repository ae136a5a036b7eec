from __future__ import annotations

import numpy as np
import pytest
import ray

from rllib_tactical.bench.object_store import bytes_created


@pytest.mark.ray
def test_what_is_put_counts_once_and_reading_it_does_not(ray_instance: None) -> None:
    size = 2_000_000
    before = bytes_created()
    reference = ray.put(np.ones(size, dtype=np.uint8))
    put = bytes_created() - before
    assert size <= put < size * 1.01
    read = ray.remote(num_cpus=1)(lambda values: int(values.sum()))
    assert [ray.get(read.remote(reference)) for _ in range(2)] == [size, size]
    assert bytes_created() - before == put

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.small_ray import small_ray


@pytest.fixture(scope="package")
def ray_instance() -> Iterator[None]:
    """A Ray of two CPUs for the tests of this folder."""
    with small_ray():
        yield

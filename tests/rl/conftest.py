import pytest

from tests.small_ray import small_ray


@pytest.fixture(scope="package")
def ray_instance():
    """A Ray of two CPUs for the tests of this folder."""
    with small_ray():
        yield

import pytest

from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.synthetic import make_market
from tests.rl.small import small_config
from tests.small_ray import small_ray


@pytest.fixture(scope="package")
def ray_instance():
    """A Ray of two CPUs for the tests of this folder."""
    with small_ray():
        yield


@pytest.fixture(scope="package")
def bars(tmp_path_factory):
    """A file of 6,000 bars of a synthetic market without an edge."""
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(make_market("momentum", 1, 6_000, 0.0).bars, path)
    return DataSource.of(path, "SYNTH")


@pytest.fixture(scope="package")
def prepared(bars):
    """The market of that file as a small training takes it."""
    return prepare_market([bars], small_config())

"""These tests start clusters of their own: no other Ray may run in the process beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.rl.training.market import TrainingMarket, prepare_market
from rllib_tactical.runtime.process import limit_threads
from rllib_tactical.synthetic import make_market
from tests.cluster.runs import changed


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> TrainingMarket:
    """Return a market of 6,000 bars."""
    made = make_market("momentum", 1, 6_000, 0.0)
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(made.bars, path)
    return prepare_market([DataSource(path, made.instrument)], changed())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, so that every worker process is on a node that can be killed."""
    limit_threads()
    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            # with its default port Ray opens a socket, and forgets it where the port is taken
            "dashboard_port": None,
            # a dead node is noticed in two seconds instead of fifteen
            "_system_config": {
                "health_check_initial_delay_ms": 0,
                "health_check_period_ms": 500,
                "health_check_timeout_ms": 1_000,
                "health_check_failure_threshold": 4,
            },
        },
    )
    ray.init(started.address, logging_level="ERROR", log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()

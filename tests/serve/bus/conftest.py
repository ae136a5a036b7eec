"""A bus on a real server of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.client.bus import BusPublisher, BusReader
from tests.serve.bus.events import Bus, trading_bar
from tests.serve.state.stores import valkey_server


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with (
        valkey_server(tmp_path / "server") as (url, server),
        BusPublisher(url) as publisher,
        BusReader(url) as reader,
    ):
        yield Bus(url, server, publisher, reader)


@pytest.fixture(scope="session")
def trade(table: FeatureTable, bundle: Bundle) -> tuple[int, int]:
    """Return a bar at which the bundle trades with a synergy on its side, and the side."""
    return trading_bar(table, bundle)

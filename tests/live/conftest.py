"""A bundle that trades, for the tests of live sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rllib_tactical.bundle.bundle import Bundle
from tests.contract.parity import Case, opinionated
from tests.market import INSTRUMENT, random_bars


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of symbol TEST whose untrained actors trade both ways."""
    case = Case(random_bars(400, 0), replace(INSTRUMENT, base_quantity=100.0))
    return opinionated(tmp_path_factory.mktemp("bundle") / "bundle", case)

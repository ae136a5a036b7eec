from __future__ import annotations

import copy
from typing import Any

import pytest

from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import request_at


@pytest.fixture
def request_body(table: FeatureTable) -> dict[str, Any]:
    return copy.deepcopy(request_at(table, 300))

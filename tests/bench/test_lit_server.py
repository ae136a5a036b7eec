from __future__ import annotations

import json

import pytest

pytest.importorskip("litserve", reason="comes with the extra bench")

from rllib_tactical.bench.lit_server import DecisionApi
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import bundle, request_at, table

__all__ = ["bundle", "table"]  # fixtures


@pytest.mark.slow
def test_a_decoded_body_is_decided_on(bundle: Bundle, table: FeatureTable) -> None:
    api = DecisionApi(bundle.path)
    api.setup("cpu")
    answer = api.predict(request_at(table, 330))
    assert json.loads(json.dumps(answer))["bundle_id"] == bundle.bundle_id

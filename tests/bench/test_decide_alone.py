from __future__ import annotations

import json

import pytest

from rllib_tactical.bench.decide_alone import decide_alone
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import bundle, request_at, table

__all__ = ["bundle", "table"]  # fixtures


@pytest.mark.slow
def test_the_answer_is_that_of_a_flat_account(bundle: Bundle, table: FeatureTable) -> None:
    decide = decide_alone(bundle.path)
    body = json.dumps(request_at(table, 330)).encode()
    answer = json.loads(decide(body))
    assert answer["bundle_id"] == bundle.bundle_id
    assert answer["source"] == "policy"
    again = json.loads(decide(body))
    assert again["decision_id"] == answer["decision_id"]

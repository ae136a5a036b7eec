"""Votes by the request's mode and seed, and those of the rules when the actors fail."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import AGENTS
from serve.decision.decider import Decider
from tests.serve.conftest import request_at
from tests.serve.decision.deciding import FLAT, BrokenEngine, FixedEngine, ask, fixed


def test_sampling_is_seeded_by_the_request_or_by_seed(bundle: Bundle, table: FeatureTable) -> None:
    flat = fixed(bundle, np.zeros((3, 3)))

    def sampled(t: int, **more: Any) -> tuple[int, ...]:
        request = request_at(table, t, override_params={"mode": "sample", **more})
        body = ask(flat, request)
        assert ask(flat, request) == body
        return tuple(body["agent_breakdown"][agent]["index"] for agent in AGENTS)

    draws = [sampled(t) for t in range(300, 360)]
    assert len(set(draws)) > 10  # 27 are possible
    assert sampled(300, seed=1) == sampled(310, seed=1)
    assert len({sampled(300, seed=seed) for seed in range(30)}) > 5


@pytest.mark.parametrize("engine", [BrokenEngine(), FixedEngine(np.full((3, 3), np.nan))])
def test_rule_based_votes_answer_when_the_actors_fail(
    bundle: Bundle, table: FeatureTable, engine: Any
) -> None:
    failing = Decider(bundle, PerformanceConfig(), engine=engine)
    decided = failing.answer(json.dumps(request_at(table, 300)).encode(), FLAT)
    votes = rule_votes(table.raw[300:301], table.close[300:301])
    assert decided.fallback
    assert decided.answer.source == "fallback"
    for i, agent in enumerate(AGENTS):
        part = getattr(decided.answer.agent_breakdown, agent)
        assert (part.action, part.index, part.confidence) == (
            votes.signed[0, i],
            votes.index[0, i],
            votes.confidence[0, i],
        )
        assert part.probabilities is None

"""From the actors' probabilities to votes: by the request's mode, or by rules without actors."""

from __future__ import annotations

import numpy as np
from msgspec import UNSET

from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import Votes, greedy_votes, sample_votes
from rllib_tactical.domain.types import AGENTS, FloatArray
from serve.api.decide_request import DecideInput, OverrideParams


def cast_votes(
    agent_probabilities: FloatArray | None, request: DecideInput, digest: bytes
) -> Votes:
    """Return the votes of the actors; without them those of the rules.

    Args:
        agent_probabilities: (1, 3, 3), None when the actors failed.
        request: its mode and seed choose, its last row is what the rules look at.
        digest: SHA-256 of the request, which seeds a sample without a seed.
    """
    if agent_probabilities is None:
        return rule_votes(request.matrix[-1:], np.array([request.price]))
    return _vote(agent_probabilities, request.overrides, digest)


def _vote(agent_probabilities: FloatArray, overrides: OverrideParams, digest: bytes) -> Votes:
    if overrides.mode != "sample":
        return greedy_votes(agent_probabilities)
    seed = int.from_bytes(digest[:8]) if overrides.seed is UNSET else overrides.seed
    return sample_votes(agent_probabilities, np.random.default_rng(seed).random((1, len(AGENTS))))

"""Who gets credit for what: votes that decided something, and returns that end with a trade.

Both leave the policy gradient's expectation as it is (the second one only as far as the critic is
right) and take noise out of it.

- A vote is decisive where another vote of the same agent, the others' votes as they were, would
  have led to another order. Elsewhere what follows does not depend on the vote, so that its
  expected contribution to the gradient is zero whatever the advantage, and its actual one noise.
- After a trade is over the account is as if it were new: later rewards are of later decisions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.decision.aggregation import AggregationConfig, aggregate_constant
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.preconditions import range_of, require_shape
from rllib_tactical.domain.types import (
    NUM_ACTIONS,
    NUM_AGENTS,
    SYNERGY_KINDS,
    AnyArray,
    BoolArray,
    FloatArray,
)
from rllib_tactical.errors import ArrayError

_SIDES = 3  # a position's: short, flat, long
_DIRECTIONS = 3
_VOTES = (NUM_ACTIONS,) * NUM_AGENTS


def decisive_votes(
    actions: NDArray[np.integer],
    position_side: NDArray[np.floating],
    refused: BoolArray,
    synergy_kind: NDArray[np.integer],
    synergy_direction: NDArray[np.integer],
    confidence: float,
    rules: Rules,
) -> BoolArray:
    """Return whether each vote (R, K, 3) decided something, the other two as they were.

    What the risk limits would have made of another vote is not asked: where they may have refused
    an order the vote counts as decisive, which costs noise and nothing else.

    Args:
        actions: (R, K, 3) indices of the votes of K accounts on each of R bars.
        position_side: (R, K) +1, -1 or 0 before the step.
        refused: (R, K) whether every order is refused: the session is halted or closed.
        synergy_kind: (R,) 0 for none, 1..4, 5 for an unknown type.
        synergy_direction: (R,) +1, -1 or 0.
        confidence: with which every vote counts.
        rules: aggregation and order sizes.

    Raises:
        ArrayError: another rank, shape or dtype, or a value that none of the above is.
    """
    require_shape(actions, ("R", "K", NUM_AGENTS), np.integer, "actions")
    accounts = actions.shape[:2]
    require_shape(position_side, accounts, np.floating, "position_side")
    require_shape(refused, accounts, np.bool_, "refused")
    require_shape(synergy_kind, accounts[:1], np.integer, "synergy_kind")
    require_shape(synergy_direction, accounts[:1], np.integer, "synergy_direction")
    table = _decisive_cases(confidence, rules.aggregation, rules.orders)
    fvg, momentum, entry = np.moveaxis(actions.astype(np.int64), -1, 0)
    side = np.sign(position_side).astype(np.int64) + 1
    kind, direction = (
        values.astype(np.int64)[:, None] for values in (synergy_kind, synergy_direction)
    )
    try:
        case = np.ravel_multi_index(
            (fvg, momentum, entry, kind, direction + 1, side), table.shape[:-1]
        )
    except ValueError as error:
        raise ArrayError(
            "votes must be 0..2, synergy kinds 0..5, directions -1..1 and position sides finite, "
            f"found {range_of(actions)}, {range_of(synergy_kind)}, "
            f"{range_of(synergy_direction)} and {range_of(position_side)}"
        ) from error
    found: BoolArray = table.reshape(-1, NUM_AGENTS)[case]
    return found & ~refused[..., None]


@lru_cache(maxsize=16)
def _decisive_cases(
    confidence: float, aggregation: AggregationConfig, orders: OrderConfig
) -> AnyArray:
    """Return (votes 3 x 3 x 3, kinds, directions, position sides, agents) bool."""
    shape = (*_VOTES, SYNERGY_KINDS, _DIRECTIONS)
    *index, kind, direction = np.indices(shape).reshape(len(shape), -1)
    vote = aggregate_constant(np.stack(index, axis=1), confidence, kind, direction - 1, aggregation)
    cap = np.where(vote.aggressive, orders.cap_aggressive, orders.cap_execute)
    side = np.where(vote.execute, vote.side, 0)
    opens = side * np.minimum(vote.score / orders.full_size_confidence, cap)
    closes = [np.where(side == -held, side, 0.0) for held in (-1, 1)]
    order: FloatArray = np.stack([closes[0], opens, closes[1]], axis=-1).reshape(*shape, _SIDES)
    return _varies(order)


def _varies(order: FloatArray) -> AnyArray:
    """Return for each case and agent whether the order varies with the agent's vote."""
    varies = [
        np.broadcast_to(np.ptp(order, axis=agent, keepdims=True) > 0, order.shape)
        for agent in range(NUM_AGENTS)
    ]
    return np.stack(varies, axis=-1)

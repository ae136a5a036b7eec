"""Who gets credit for what: votes that decided something, returns that end with a trade, what if.

The first two leave the policy gradient's expectation as it is (the second one only as far as the
critic is right) and take noise out of it.

- A vote is decisive where another vote of the same agent, the others' votes as they were, would
  have led to another order. Elsewhere what follows does not depend on the vote, so that its
  expected contribution to the gradient is zero whatever the advantage, and its actual one noise.
- After a trade is over the account is as if it were new: later rewards are of later decisions.
- Where the outcome of a trade on either side is known, every vote of every agent has an exact
  value, and nothing is left to chance but the bars.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.decision.actions import AGGRESSIVE, EXECUTE
from rllib_tactical.domain.decision.aggregation import AggregationConfig, aggregate_constant
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.preconditions import range_of, require_shape
from rllib_tactical.domain.types import (
    LONG,
    NUM_ACTIONS,
    NUM_AGENTS,
    SHORT,
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


def counterfactual_advantages(
    traded: FloatArray,
    flat: FloatArray,
    probabilities: FloatArray,
    synergy_kind: NDArray[np.integer],
    synergy_direction: NDArray[np.integer],
    confidence: float,
    rules: Rules,
) -> FloatArray:
    """Return the exact advantage (N, 3 agents, 3 votes) of each vote of an account that is flat.

    Q_i(a) is the mean of Q(votes) over the other two agents' votes, and A_i(a) = Q_i(a) minus its
    mean over the agent's own. Q(votes) is ``flat`` where the votes open nothing; where they open a
    trade it is ``flat`` plus what the trade of the unanimous vote is worth more, in proportion to
    the size of the order.

    Args:
        traded: (N, 2 sides, 3 agents) value of the trade that three agents open who agree, long and
            short, an entry agent that executes among them.
        flat: (N, 3 agents) value of opening none.
        probabilities: (N, 3 agents, 3 votes) of the policies that are credited.
        synergy_kind: (N,) 0 for none, 1..4, 5 for an unknown type.
        synergy_direction: (N,) +1, -1 or 0.
        confidence: with which every vote counts.
        rules: aggregation and order sizes.

    Raises:
        ArrayError: another rank, shape or dtype.
    """
    require_shape(flat, ("N", NUM_AGENTS), np.float64, "flat")
    count = len(flat)
    require_shape(traded, (count, 2, NUM_AGENTS), np.float64, "traded")
    shape = (count, NUM_AGENTS, NUM_ACTIONS)
    require_shape(probabilities, shape, np.float64, "probabilities")
    require_shape(synergy_kind, (count,), np.integer, "synergy_kind")
    require_shape(synergy_direction, (count,), np.integer, "synergy_direction")
    share = _opened(confidence, rules.aggregation, rules.orders)[
        ..., synergy_kind.astype(np.int64), synergy_direction.astype(np.int64) + 1
    ]
    fvg, momentum, entry = np.moveaxis(probabilities, 1, 0)
    more = traded - flat[:, None]
    advantages = np.zeros(shape)
    for column, (side, votes) in enumerate(((LONG, (0, 0)), (SHORT, (2, 2)))):
        unanimous = share[(*votes, EXECUTE)]
        size = np.where(share * side > 0, np.abs(share), 0.0)
        size = np.divide(size, np.abs(unanimous), out=np.zeros_like(size), where=unanimous != 0)
        of_votes = (
            np.einsum("abcn,nb,nc->na", size, momentum, entry),
            np.einsum("abcn,na,nc->nb", size, fvg, entry),
            np.einsum("abcn,na,nb->nc", size, fvg, momentum),
        )
        advantages += np.stack(of_votes, axis=1) * more[:, column, :, None]
    mean: FloatArray = (advantages * probabilities).sum(axis=-1, keepdims=True)
    return advantages - mean


def aggressive_size(confidence: float, rules: Rules) -> float:
    """Return the size of an aggressive order as a share of an executed one, all agents agreeing."""
    share = _opened(confidence, rules.aggregation, rules.orders)[0, 0, :, 0, 1]
    return float(share[AGGRESSIVE] / share[EXECUTE]) if share[EXECUTE] else 1.0


@lru_cache(maxsize=16)
def _opened(confidence: float, aggregation: AggregationConfig, orders: OrderConfig) -> FloatArray:
    """Return what a flat account opens: (votes 3 x 3 x 3, kinds, directions) share of the base.

    Above zero for long, below zero for short.
    """
    shape = (*_VOTES, SYNERGY_KINDS, _DIRECTIONS)
    *index, kind, direction = np.indices(shape).reshape(len(shape), -1)
    vote = aggregate_constant(np.stack(index, axis=1), confidence, kind, direction - 1, aggregation)
    cap = np.where(vote.aggressive, orders.cap_aggressive, orders.cap_execute)
    side = np.where(vote.execute, vote.side, 0)
    opens: FloatArray = side * np.minimum(vote.score / orders.full_size_confidence, cap)
    return opens.reshape(shape)


@lru_cache(maxsize=16)
def _decisive_cases(
    confidence: float, aggregation: AggregationConfig, orders: OrderConfig
) -> AnyArray:
    """Return (votes 3 x 3 x 3, kinds, directions, position sides, agents) bool."""
    opens = _opened(confidence, aggregation, orders)
    side = np.sign(opens)
    closes = [np.where(side == -held, side, 0.0) for held in (-1, 1)]
    order: FloatArray = np.stack([closes[0], opens, closes[1]], axis=-1)
    return _varies(order)


def _varies(order: FloatArray) -> AnyArray:
    """Return for each case and agent whether the order varies with the agent's vote."""
    varies = [
        np.broadcast_to(np.ptp(order, axis=agent, keepdims=True) > 0, order.shape)
        for agent in range(NUM_AGENTS)
    ]
    return np.stack(varies, axis=-1)

"""Several instruments on one clock, each with its own account, that share places for positions.

At the close of a bar all instruments that have one decide in their order, each knowing which of the
others hold a place and what those before it have ordered: see ``PositionBudget``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rllib_tactical.domain.decision.position_budget import PositionBudget
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.domain.types import NUM_AGENTS

Report = Callable[[int, int, Step], None]
"""Called with the instrument's number, the row of its votes, and what its step did."""


def step_together(
    simulators: Sequence[Simulator], votes: Sequence[Votes], places: int, report: Report
) -> None:
    """Step every simulator from where it stands through all but the last of its votes.

    The N accounts of a simulator stand on one bar; the accounts of one number share places. After
    its last bar an instrument gives its places back.

    Args:
        simulators: one for each instrument; the bars must be of one length.
        votes: of each, (K, N, 3) at the closes of the K bars from where its simulator stands; or
            (K, 3) where N = 1.
        places: most positions that may be open at a time.
        report: told about every step.

    Raises:
        ConfigError: there is no place, or no instrument.
    """
    accounts = simulators[0].num_accounts if simulators else 1
    budget = PositionBudget(len(simulators), places, accounts)
    first = [int(simulator.t[0]) for simulator in simulators]
    length = [len(each.index) for each in votes]
    times = [
        simulator.history.bars.timestamp_s[start : start + count]
        for simulator, start, count in zip(simulators, first, length, strict=True)
    ]
    who, time_s = np.repeat(np.arange(len(simulators)), length), np.concatenate(times)
    order = np.lexsort((who, time_s))
    begins = np.flatnonzero(np.diff(time_s[order], prepend=-1))
    for together in np.split(who[order], begins[1:]):
        rows = []
        for k in together.tolist():
            row = int(simulators[k].t[0]) - first[k]
            over = row == length[k] - 1
            budget.mark(k, 0 if over else simulators[k].side)
            if not over:
                rows.append((k, row))
        for k, row in rows:
            index, confidence = votes[k].index[row], votes[k].confidence[row]
            shape = (accounts, NUM_AGENTS)
            step = step_within(
                budget, k, simulators[k], Votes(index.reshape(shape), confidence.reshape(shape))
            )
            report(k, row, step)


def step_within(budget: PositionBudget, account: int, simulator: Simulator, votes: Votes) -> Step:
    """Step one instrument's accounts, which open positions only where there is a place for them."""
    simulator.full = budget.full_for(account)
    step = simulator.step(votes)
    budget.order(account, step.decision.execute & ~step.decision.closes)
    return step

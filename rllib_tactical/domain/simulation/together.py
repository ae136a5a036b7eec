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

Report = Callable[[int, int, Step], None]
"""Called with the instrument's number, the row of its votes, and what its step did."""


def step_together(
    simulators: Sequence[Simulator], votes: Sequence[Votes], places: int, report: Report
) -> None:
    """Step every simulator (N = 1) from where it stands through all but the last of its votes.

    After its last bar an instrument gives its place back.

    Args:
        simulators: one for each instrument; the bars must be of one length.
        votes: of each, (K, 3) at the closes of the K bars from where its simulator stands.
        places: most positions that may be open at a time.
        report: told about every step.

    Raises:
        ConfigError: there is no place, or no instrument.
    """
    budget = PositionBudget(len(simulators), places)
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
            budget.mark(k, 0 if over else int(simulators[k].side[0]))
            if not over:
                rows.append((k, row))
        for k, row in rows:
            simulator, vote = simulators[k], slice(row, row + 1)
            simulator.full = np.array([budget.full_for(k)])
            step = simulator.step(Votes(votes[k].index[vote], votes[k].confidence[vote]))
            if step.decision.execute[0] and not step.decision.closes[0]:
                budget.order(k)
            report(k, row, step)

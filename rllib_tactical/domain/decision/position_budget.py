"""Places for open positions that the accounts of several instruments share.

An order that would open a position needs a place: fewer than ``places`` of the other accounts hold
one. A position holds its place from the decision that orders it until the close of the bar on which
it has ended; an order that does not fill gives its place back at the next close. Orders of one time
take places in the order in which they are decided on. Closing needs no place.
"""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray
from rllib_tactical.errors import ConfigError


class PositionBudget:
    """Which accounts hold a place, in N budgets side by side.

    Args:
        accounts: how many share the places of one budget.
        places: most positions that may be open at a time.
        budgets: how many there are; none has to do with another.

    Raises:
        ConfigError: there is no place or no account.
    """

    def __init__(self, accounts: int, places: int, budgets: int = 1) -> None:
        for name, value in (("accounts", accounts), ("places", places)):
            if value < 1:
                raise ConfigError(f"{name} of a position budget must be >= 1, found {value}")
        self.places = places
        self._held: BoolArray = np.zeros((accounts, budgets), dtype=np.bool_)

    def mark(self, account: int, side: IntArray | int) -> None:
        """Take an account's positions (N,) of +1, -1, 0 as they are at a close of its market."""
        self._held[account] = np.not_equal(side, 0)

    def order(self, account: int, opens: BoolArray) -> None:
        """Give a place to an account wherever its order opens a position, (N,)."""
        self._held[account] |= opens

    def elsewhere(self, account: int) -> FloatArray:
        """Return how many places (N,) the other accounts hold, as a share of all."""
        share: FloatArray = (self._held.sum(axis=0) - self._held[account]) / self.places
        return share

    def full_for(self, account: int) -> BoolArray:
        """Return whether the other accounts hold all places, (N,)."""
        return self.elsewhere(account) >= 1.0

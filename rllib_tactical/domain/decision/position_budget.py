"""Places for open positions that the accounts of several instruments share.

An order that would open a position needs a place: fewer than ``places`` of the other accounts hold
one. A position holds its place from the decision that orders it until the close of the bar on which
it has ended; an order that does not fill gives its place back at the next close. Orders of one time
take places in the order in which they are decided on. Closing needs no place.
"""

from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import BoolArray
from rllib_tactical.errors import ConfigError


class PositionBudget:
    """Which accounts hold a place.

    Args:
        accounts: how many share the places.
        places: most positions that may be open at a time.

    Raises:
        ConfigError: there is no place or no account.
    """

    def __init__(self, accounts: int, places: int) -> None:
        for name, value in (("accounts", accounts), ("places", places)):
            if value < 1:
                raise ConfigError(f"{name} of a position budget must be >= 1, found {value}")
        self.places = places
        self._held: BoolArray = np.zeros(accounts, dtype=np.bool_)

    def mark(self, account: int, side: int) -> None:
        """Take an account's position (+1, -1, 0) as it is at a close of its market."""
        self._held[account] = side != 0

    def order(self, account: int) -> None:
        """Give a place to an account whose order opens a position."""
        self._held[account] = True

    def full_for(self, account: int) -> bool:
        """Return whether the other accounts hold all places."""
        elsewhere = int(np.count_nonzero(self._held)) - bool(self._held[account])
        return elsewhere >= self.places

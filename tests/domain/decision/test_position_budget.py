from __future__ import annotations

import pytest

from rllib_tactical.domain.decision.position_budget import PositionBudget
from rllib_tactical.errors import ConfigError


def full(budget: PositionBudget) -> list[bool]:
    return [budget.full_for(account) for account in range(3)]


def test_a_place_is_held_from_the_order_to_the_close_after_the_end() -> None:
    budget = PositionBudget(3, 1)
    assert full(budget) == [False, False, False]
    budget.order(1)
    assert full(budget) == [True, False, True]  # its own position does not stand in its way
    budget.mark(1, 1)
    assert full(budget) == [True, False, True]
    budget.mark(1, 0)
    assert full(budget) == [False, False, False]


def test_as_many_positions_as_there_are_places() -> None:
    budget = PositionBudget(3, 2)
    budget.mark(0, -1)
    assert full(budget) == [False, False, False]
    budget.order(2)
    assert full(budget) == [False, True, False]


@pytest.mark.parametrize(("accounts", "places", "name"), [(0, 1, "accounts"), (2, 0, "places")])
def test_there_is_a_place_and_an_account(accounts: int, places: int, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} of a position budget must be >= 1, found 0"):
        PositionBudget(accounts, places)

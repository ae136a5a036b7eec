from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.decision.position_budget import PositionBudget
from rllib_tactical.domain.types import BoolArray
from rllib_tactical.errors import ConfigError

YES: BoolArray = np.array([True])


def full(budget: PositionBudget) -> list[bool]:
    return [bool(budget.full_for(account)) for account in range(3)]


def test_a_place_is_held_from_the_order_to_the_close_after_the_end() -> None:
    budget = PositionBudget(3, 1)
    assert full(budget) == [False, False, False]
    budget.order(1, YES)
    assert full(budget) == [True, False, True]  # its own position does not stand in its way
    budget.mark(1, 1)
    budget.order(1, ~YES)
    assert full(budget) == [True, False, True]
    budget.mark(1, 0)
    assert full(budget) == [False, False, False]


def test_as_many_positions_as_there_are_places() -> None:
    budget = PositionBudget(3, 2)
    budget.mark(0, -1)
    assert full(budget) == [False, False, False]
    assert [budget.elsewhere(account).item() for account in range(3)] == [0.0, 0.5, 0.5]
    budget.order(2, YES)
    assert full(budget) == [False, True, False]


def test_budgets_side_by_side_have_nothing_to_do_with_each_other() -> None:
    budget = PositionBudget(2, 1, budgets=3)
    budget.mark(0, np.array([1, 0, -1]))
    budget.order(1, np.array([False, True, False]))
    assert budget.full_for(0).tolist() == [False, True, False]
    assert budget.full_for(1).tolist() == [True, False, True]


@pytest.mark.parametrize(("accounts", "places", "name"), [(0, 1, "accounts"), (2, 0, "places")])
def test_there_is_a_place_and_an_account(accounts: int, places: int, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} of a position budget must be >= 1, found 0"):
        PositionBudget(accounts, places)

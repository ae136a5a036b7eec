"""The arrays of trades that end on a bar."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from rllib_tactical.domain.simulation.transition import ExitReason, Exits


def arrays(exits: Exits) -> dict[str, np.ndarray]:
    return {
        field.name: getattr(exits, field.name) for field in fields(exits) if field.name != "count"
    }


def test_without_an_exit_there_is_no_price_and_no_reason() -> None:
    exits = Exits.empty(3)
    assert exits.count == 0
    assert not exits.exited.any()
    assert np.isnan(exits.price).all()
    assert exits.reason.tolist() == [ExitReason.NONE] * 3
    for name, array in arrays(exits).items():
        assert array.shape == (3,), name
        if name != "price":
            assert not array.any(), name


def test_empty_arrays_are_filled_one_by_one() -> None:
    exits = Exits.empty(2)
    made = arrays(exits)
    for k, array in enumerate(made.values()):
        array[0] = k % 2
    assert all(array[1] == 0 or np.isnan(array[1]) for array in made.values())
    addresses = {array.__array_interface__["data"][0] for array in made.values()}
    assert len(addresses) == len(made)  # no two of them are one
    assert not Exits.empty(2).exited.any()


def test_what_all_steps_without_an_exit_share_cannot_be_written_to() -> None:
    for name, array in arrays(Exits.none(2)).items():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
            pytest.fail(f"{name} can be written to")

"""Check that a function refuses arrays of another rank, shape or dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError, TacticalError


def assert_wrong_arrays_are_refused(
    function: Callable[..., Any],
    error: type[TacticalError] = ArrayError,
    /,
    **arrays: AnyArray,
) -> None:
    """Call ``function`` with ``arrays``, and with one of them wrong at a time.

    Every array is tried with an axis too many, with a row too many (where others must have as
    many), with another length of its last axis (where it has two), and with another dtype.
    """
    function(**arrays)
    for name, array in arrays.items():
        for what, wrong in _wrong(array, len(arrays) > 1):
            with pytest.raises(error, match=r" must be an? .* array of shape .*, found "):
                function(**arrays | {name: wrong})
                pytest.fail(f"{name} with {what} was accepted")


def _wrong(array: AnyArray, has_others: bool) -> Iterator[tuple[str, AnyArray]]:
    yield "another rank", array[..., None]
    if has_others:
        yield "a row too many", np.concatenate([array, array[:1]])
    if array.ndim > 1:
        yield "another length of the last axis", array[..., :-1]
    yield "another dtype", array.astype(np.int64 if array.dtype.kind == "f" else np.float64)

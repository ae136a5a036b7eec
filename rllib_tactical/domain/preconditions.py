"""Preconditions of array functions: rank, shape and dtype, checked before anything is computed.

NumPy broadcasts and converts where it can, so that a wrong array seldom fails and often gives a
wrong number. Each public kernel calls ``require_shape`` first.

The simulator calls some kernels many times per step, with arrays that it made itself. Such a
kernel ``f`` checks its arrays and calls ``_f`` in the same module, which computes without checks.
Call ``_f`` only with arrays that have been checked: a market history is checked when it is made,
the accounts are when they are reset, and the votes are at the head of each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_tactical.domain.types import AnyArray
from rllib_tactical.errors import ArrayError, TacticalError

Shape = tuple[int | str, ...]
"""A length per axis. A letter such as "N" stands for any length; a leading "..." for any axes."""


def require_shape(
    array: Any,
    shape: Shape,
    dtype: type[Any],
    name: str,
    error: type[TacticalError] = ArrayError,
) -> None:
    """Refuse an array of another rank, shape or dtype.

    Args:
        array: what was passed.
        shape: what it must have, such as ``(N, 3)`` with N a number, or ``("N", 3)``.
        dtype: scalar type, such as ``np.float64``; an abstract one, such as ``np.integer``, allows
            all types below it.
        name: of the argument, for the message.
        error: class of the error.

    Raises:
        ArrayError: not an array, or an array of another rank, shape or dtype.
    """
    if isinstance(array, np.ndarray):
        found = array.shape
        if (found == shape or _fits(found, shape)) and issubclass(array.dtype.type, dtype):
            return
    raise error(f"{name} must be {_an_array(dtype.__name__, shape)}, found {_described(array)}")


def require_fields(
    record: Any,
    shape: Shape,
    dtypes: dict[str, type[Any]],
    name: str,
    error: type[TacticalError] = ArrayError,
) -> None:
    """Refuse a record with a field of another rank, shape or dtype; all fields have one shape.

    Args:
        record: an object with an array in each field named in ``dtypes``.
        shape: of every field, as of ``require_shape``.
        dtypes: scalar type by field, as of ``require_shape``.
        name: of the argument, for the message.
        error: class of the error.

    Raises:
        ArrayError: a field is not an array, or has another rank, shape or dtype.
    """
    for field, dtype in dtypes.items():
        require_shape(getattr(record, field), shape, dtype, f"{name}.{field}", error)


def range_of(values: AnyArray) -> str:
    """Return the smallest and the largest value, for messages."""
    return f"{values.min()}..{values.max()}"


def _fits(found: tuple[int, ...], shape: Shape) -> bool:
    if shape and shape[0] == "...":
        shape = shape[1:]
        found = found[max(len(found) - len(shape), 0) :]
    if len(found) != len(shape):
        return False
    for axis, wanted in enumerate(shape):  # several times faster than all() and zip()
        if not isinstance(wanted, str) and found[axis] != wanted:
            return False
    return True


def _described(array: Any) -> str:
    if isinstance(array, np.ndarray):
        return _an_array(array.dtype.name, array.shape)
    return "None" if array is None else _with_article(type(array).__name__)


def _an_array(dtype: str, shape: Shape) -> str:
    comma = "," if len(shape) == 1 else ""
    return (
        f"{_with_article(dtype.rstrip('_'))} array of shape ({', '.join(map(str, shape))}{comma})"
    )


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

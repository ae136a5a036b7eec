from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.preconditions import Shape, require_fields, require_shape
from rllib_tactical.errors import ArrayError, FeatureError


@pytest.mark.parametrize(
    ("array", "shape", "dtype"),
    [
        (np.zeros((4, 3)), (4, 3), np.float64),
        (np.zeros((4, 3)), ("N", 3), np.float64),
        (np.zeros((0, 3)), ("N", 3), np.float64),
        (np.zeros(4, dtype=np.int8), ("N",), np.integer),
        (np.zeros((60, 7), dtype=np.float32), ("...", 60, 7), np.float32),
        (np.zeros((2, 5, 60, 7)), ("...", 60, 7), np.floating),
        (np.zeros(4, dtype=np.bool_), (4,), np.bool_),
        (np.zeros(()), (), np.float64),
    ],
)
def test_fitting_arrays_pass(array: Any, shape: Shape, dtype: type[np.generic]) -> None:
    require_shape(array, shape, dtype, "x")


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "message"),
    [
        (
            np.zeros(3),
            ("N", 3),
            np.float64,
            "x must be a float64 array of shape (N, 3), found a float64 array of shape (3,)",
        ),
        (
            np.zeros((4, 2)),
            (4, 3),
            np.float64,
            "x must be a float64 array of shape (4, 3), found a float64 array of shape (4, 2)",
        ),
        (
            np.zeros((1, 4, 3)),
            (4, 3),
            np.float64,
            "x must be a float64 array of shape (4, 3), found a float64 array of shape (1, 4, 3)",
        ),
        (
            np.zeros(4, dtype=np.int64),
            (4,),
            np.bool_,
            "x must be a bool array of shape (4,), found an int64 array of shape (4,)",
        ),
        (
            np.zeros(4),
            ("N",),
            np.integer,
            "x must be an integer array of shape (N,), found a float64 array of shape (4,)",
        ),
        (
            np.zeros(7),
            ("...", 60, 7),
            np.float64,
            "x must be a float64 array of shape (..., 60, 7), found a float64 array of shape (7,)",
        ),
        ([1.0], (1,), np.float64, "x must be a float64 array of shape (1,), found a list"),
        (None, (1,), np.float64, "x must be a float64 array of shape (1,), found None"),
    ],
)
def test_other_rank_shape_or_dtype_is_refused(
    array: Any, shape: Shape, dtype: type[np.generic], message: str
) -> None:
    with pytest.raises(ArrayError) as caught:
        require_shape(array, shape, dtype, "x")
    assert str(caught.value) == message


def test_caller_chooses_the_error() -> None:
    with pytest.raises(FeatureError, match="raw must be"):
        require_shape(np.zeros(3), (4,), np.float64, "raw", FeatureError)


@dataclass
class Pair:
    price: Any
    side: Any


DTYPES: dict[str, type[Any]] = {"price": np.float64, "side": np.integer}


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_fitting_fields_pass(dtype: type[np.generic]) -> None:
    pair = Pair(np.zeros(2), np.zeros(2, dtype=dtype))
    require_fields(pair, (2,), DTYPES, "pair")
    require_fields(pair, ("N",), DTYPES, "pair")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair(np.zeros(3), np.zeros(2, dtype=np.int64)), r"pair\.price must be .* found .*\(3,\)"),
        (Pair(np.zeros((2, 1)), np.zeros(2, dtype=np.int64)), r"pair\.price .* found .*\(2, 1\)"),
        (Pair(np.zeros(2), np.zeros(2)), r"pair\.side must be an integer .* found a float64"),
        (Pair(np.zeros(2), 1), r"pair\.side must be an integer .* found an? int"),
    ],
)
def test_field_of_other_rank_shape_or_dtype_is_refused(pair: Pair, message: str) -> None:
    with pytest.raises(ArrayError, match=message):
        require_fields(pair, (2,), DTYPES, "pair")

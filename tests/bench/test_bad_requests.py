"""Each generated body has one fault that a reader of the service finds."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, Final

import pytest

from rllib_tactical.bench.bad_requests import _FAULTS, HUGE_BODY, MAX_BODY, bad_requests
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import Instrument
from serve.api.decide_request import read_request
from serve.api.errors import RequestError
from serve.api.write_requests import (
    BarsRequest,
    FillsRequest,
    ModelRequest,
    OverrideRequest,
    read_body,
)
from serve.state.fills import FillRegister
from tests.serve.conftest import walk
from tests.serve.test_bad_requests import good_bodies

GOOD: Final = good_bodies(compute_features(walk(400, seed=7)))


def read_fills(body: bytes) -> object:
    """Read a body and ask, as the service does, for a fill or a bust in it."""
    register = FillRegister(Instrument(symbol="TEST", tick_size=0.01))
    return register.check(read_body(body, FillsRequest), 4e9, lambda fill_id: True)


READERS: Final[dict[str, Callable[[bytes], object]]] = {
    "/decide": lambda body: read_request(body, "TEST", 200.0),
    "/bars": partial(read_body, kind=BarsRequest),
    "/fills": read_fills,
    "/admin/override": partial(read_body, kind=OverrideRequest),
    "/admin/model": partial(read_body, kind=ModelRequest),
}


def test_what_is_broken_was_valid_before() -> None:
    assert GOOD.keys() == READERS.keys()
    for path, body in GOOD.items():
        READERS[path](json.dumps(body).encode())


@pytest.mark.parametrize("fault", list(dict.fromkeys(_FAULTS)))
def test_every_fault_is_found_in_every_body(fault: Callable[[Any, random.Random], bytes]) -> None:
    rng = random.Random(3)
    for path, body in GOOD.items():
        for _ in range(12):
            broken = fault(copy.deepcopy(body), rng)
            with pytest.raises(RequestError):
                READERS[path](broken)


def test_the_same_seed_gives_the_same_requests() -> None:
    first, second = (list(islice(bad_requests(GOOD, 5), 50)) for _ in range(2))
    assert first == second
    assert first != list(islice(bad_requests(GOOD, 6), 50))


def test_every_path_is_asked_and_the_valid_bodies_stay_as_they_are() -> None:
    before = copy.deepcopy(GOOD)
    drawn = list(islice(bad_requests(GOOD, 1), 2_000))
    assert before == GOOD
    assert {path for path, _ in drawn} == set(GOOD)
    sizes = [len(body) for _, body in drawn]
    assert min(sizes) == 0
    assert sum(MAX_BODY < size <= MAX_BODY + 100 for size in sizes) > 10  # just too large
    assert sum(size > HUGE_BODY for size in sizes) < 20

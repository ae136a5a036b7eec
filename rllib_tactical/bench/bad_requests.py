"""Requests that a service must refuse, made from the faults that happen in practice.

Each starts as a valid body and gets one fault: a wrong type or shape, a missing, unknown or
repeated key, a number that is not finite or too large, deep nesting, a truncated body, another
encoding, too many bytes, random bytes.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

MAX_BODY: Final = 256 * 1024
HUGE_BODY: Final = 10_000_000
_ODD_NUMBERS: Final = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "1" + "0" * 40)
_WRONG: Final[tuple[Any, ...]] = (
    None,
    True,
    "1.5",
    "",
    [],
    {},
    [[]],
    {"a": 1},
    -1,
    2**70,
    "\u0000",
)

Body = dict[str, Any]


def bad_requests(good: dict[str, Body], seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield paths and invalid bodies forever; none may be answered with 200 or with 5xx.

    Args:
        good: a valid body by path.
        seed: the same seed gives the same requests.
    """
    rng = random.Random(seed)
    paths = sorted(good)
    while True:
        path = rng.choice(paths)
        break_body = rng.choice(_FAULTS)
        yield path, break_body(copy.deepcopy(good[path]), rng)


def _leaf(body: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a container somewhere in the body and a key of it."""
    place, key = body, rng.choice(sorted(body))
    while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
        place = place[key]
        key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
    return place, key


def _wrong_type(body: Body, rng: random.Random) -> bytes:
    key = rng.choice(sorted(body))
    body[key] = rng.choice([1.5, True, {"no": 1}]) if key != "symbol" else [1]
    return _dump(body)


def _odd_number(body: Body, rng: random.Random) -> bytes:
    place, key = _leaf(body, rng)
    place[key] = "@@"
    return _dump(body).replace(b'"@@"', rng.choice(_ODD_NUMBERS).encode(), 1)


def _wrong_length(body: Body, rng: random.Random) -> bytes:
    lists = [key for key in body if isinstance(body[key], list)]
    if not lists:
        return _missing(body, rng)
    key = rng.choice(sorted(lists))
    body[key] = rng.choice([[], [[]] * 5000])
    return _dump(body)


def _wrong_shape(body: Body, rng: random.Random) -> bytes:
    if "matrix_state" not in body:
        return _wrong_length(body, rng)
    rows = body["matrix_state"]
    i = rng.randrange(len(rows))
    body["matrix_state"] = rng.choice(
        [
            rows[1:],
            [rows[0], *rows],
            [[*row, 0.0] for row in rows],
            [row[1:] if k == i else row for k, row in enumerate(rows)],
            [list(column) for column in zip(*rows, strict=True)],
            [value for row in rows for value in row],
            [rows],
            [[[value] for value in row] for row in rows],
            {str(k): row for k, row in enumerate(rows)},
        ]
    )
    return _dump(body)


def _missing(body: Body, rng: random.Random) -> bytes:
    return _dump({} if rng.random() < 0.5 else {rng.choice(["a", "Symbol", "matrix"]): 1})


def _unknown(body: Body, rng: random.Random) -> bytes:
    body["".join(rng.choices("abcXYZ_0é\n", k=rng.randint(1, 40))) + "?"] = rng.choice(_WRONG)
    return _dump(body)


def _repeated(body: Body, rng: random.Random) -> bytes:
    key = rng.choice(sorted(body))
    value = json.dumps(body[key])
    return _dump(body)[:-1] + f", {json.dumps(key)}: {value}}}".encode()


def _deep(body: Body, rng: random.Random) -> bytes:
    depth = rng.choice([100, 1_500, 60_000])
    opening = rng.choice(["[", '{"a":'])
    key = rng.choice(sorted(body))
    return f"{{{json.dumps(key)}: {opening * min(depth, 200_000 // len(opening))}".encode()


def _cut(body: Body, rng: random.Random) -> bytes:
    whole = _dump(body)
    return whole[: rng.randrange(len(whole))]


def _encoding(body: Body, rng: random.Random) -> bytes:
    text = json.dumps(body)
    return rng.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-32"),
            b"\xef\xbb\xbf\xff" + text.encode(),
            text.replace('"', '"\udcff', 1).encode(errors="surrogateescape"),
        ]
    )


def _noise(body: Body, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 20, 3_000]))


def _not_an_object(body: Body, rng: random.Random) -> bytes:
    return rng.choice([b"[]", b"null", b'"text"', b"17", b"[{}]", b"{}{}", b" "])


def _large(body: Body, rng: random.Random) -> bytes:
    # few of the largest: sending them would take most of the time
    size = HUGE_BODY if rng.random() < 0.02 else rng.choice([MAX_BODY - 100, MAX_BODY + 1])
    return _dump({"a": "x" * size})


def _dump(body: Any) -> bytes:
    return json.dumps(body).encode()


_FAULTS: Final[tuple[Callable[[Body, random.Random], bytes], ...]] = (
    _wrong_type,
    _wrong_type,
    _odd_number,
    _odd_number,
    _wrong_length,
    _wrong_shape,
    _missing,
    _unknown,
    _repeated,
    _deep,
    _cut,
    _cut,
    _encoding,
    _noise,
    _not_an_object,
    _large,
)

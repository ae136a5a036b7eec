"""Read requests of ``POST /decide`` for an instrument with a base quantity of 200."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve.api.decide_request import DecideInput, read_request
from serve.api.errors import RequestError

BASE_QUANTITY = 200.0


def read(body: dict[str, Any] | bytes) -> DecideInput:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request(raw, "TEST", BASE_QUANTITY)


def refused(body: dict[str, Any] | bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value

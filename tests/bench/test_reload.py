from __future__ import annotations

import threading

from rllib_tactical.bench.reload import load_while
from rllib_tactical.bench.requests import symbol_body
from rllib_tactical.synthetic import make_market
from tests.bench.test_load import OK, server


def test_requests_go_on_before_during_and_after_the_work() -> None:
    history = make_market("momentum", 1, 400).history()
    body = symbol_body(history)
    worked = threading.Event()
    with server([OK], body=len(body.replace(b'"seed": 0', b'"seed": 100'))) as url:
        found = load_while(url, [body], worked.set, seed=100, after_s=0.05)
    assert worked.is_set()
    assert found.statuses.keys() == {200}
    assert found.seconds > 0.09  # twice after_s, but for the rounding of a timer

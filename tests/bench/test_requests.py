from __future__ import annotations

import itertools
import json

from rllib_tactical.bench.requests import bars_body, matrix_body, numbered, symbol_body
from rllib_tactical.domain.types import WINDOW
from rllib_tactical.synthetic import make_market
from serve.api.decide_request import read_request

HISTORY = make_market("momentum", 1, 500).history()


def test_no_request_is_a_repeat() -> None:
    bodies = [matrix_body(HISTORY, t) for t in (400, 401)]
    sent = [request.partition(b"\r\n\r\n")[2] for request in itertools.islice(numbered(bodies), 5)]
    assert [json.loads(body)["override_params"]["seed"] for body in sent] == [0, 1, 2, 3, 4]
    assert [json.loads(body)["market_context"] for body in sent[::2]] == (
        [json.loads(bodies[0])["market_context"]] * 3
    )
    later = next(numbered(bodies, 70)).partition(b"\r\n\r\n")
    assert f"content-length: {len(later[2])}".encode() in later[0]
    assert json.loads(later[2])["override_params"] == {"seed": 70}


def test_bodies_are_what_the_service_reads() -> None:
    read = read_request(matrix_body(HISTORY, 400), HISTORY.instrument.symbol, 1.0)
    assert read.price == float(HISTORY.features.close[400])
    assert json.loads(symbol_body(HISTORY))["symbol"] == HISTORY.instrument.symbol
    assert len(json.loads(matrix_body(HISTORY, 400))["matrix_state"]) == WINDOW
    rows = bars_body(HISTORY, 3, 5)["bars"]
    assert [row["timestamp"] for row in rows] == HISTORY.bars.timestamp_s[3:5].tolist()
    assert rows[1]["close"] == HISTORY.bars.close[4]

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.bench import trader as module
from rllib_tactical.bench.requests import untrained_bundle
from rllib_tactical.bench.trader import Prober, Trader, Trades
from rllib_tactical.synthetic import make_market
from tests.serve.http.test_generated_clients import serving

pytestmark = pytest.mark.slow


def test_answers_are_compared_one_by_one() -> None:
    reference = Trades(decided=[("a", "hold", None), ("b", "long", 1)], booked=[(1.0, 10.0)])
    assert Trades(decided=reference.decided[:1]).wrong(reference) == 0  # it was stopped earlier
    assert Trades(decided=[("a", "hold", None), ("b", "long", 2)]).wrong(reference) == 1
    assert Trades(booked=[(1.0, 10.5)]).wrong(reference) == 1
    assert Trades(refused=["409"]).wrong(reference) == 1
    assert Trades(decided=[*reference.decided, ("c", "hold", None)]).wrong(reference) == 1


def probe(answers: list[bool]) -> Iterator[bool]:
    return itertools.chain(answers, itertools.repeat(True))


@pytest.mark.parametrize(
    ("answers", "looks"), [([True] * 3, 0), ([False] * 5, 5), ([False, True, False, False], 4)]
)
def test_away_is_from_the_fault_to_the_last_return(answers: list[bool], looks: int) -> None:
    left = probe(answers)
    begun = time.monotonic()
    with Prober(lambda: next(left), every_s=0.1) as prober:
        away_s = prober.away_s(begun, settle_s=0.6)
    if looks == 0:
        assert away_s == 0.0
    else:
        assert away_s >= (looks + 1) * 0.1


def test_a_service_that_does_not_come_back_is_away_for_the_limit() -> None:
    with Prober(lambda: False, every_s=0.01) as prober:
        assert prober.away_s(time.monotonic(), limit_s=0.1) == 0.1


def test_a_request_that_nobody_answers_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_S", 0.01)
    history = make_market("momentum", 1, 500).history()
    trader = Trader("http://127.0.0.1:9", history, 100_000.0)
    trader.start()
    assert trader.wait().lost == 1


def test_a_program_that_is_stopped_does_not_wait_for_a_lost_request() -> None:
    code = (
        "from rllib_tactical.bench.trader import Trader\n"
        "from rllib_tactical.synthetic import make_market\n"
        "history = make_market('momentum', 1, 500).history()\n"
        "Trader('http://127.0.0.1:9', history, 1e5).start()\n"
        "raise KeyboardInterrupt\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, timeout=120.0, check=False
    )
    assert done.returncode != 0


@pytest.mark.slow
def test_two_sessions_are_alike(tmp_path: Path) -> None:
    history = make_market("momentum", 1, 700).history()
    bundle = untrained_bundle(tmp_path / "bundle", history)
    found = []
    for name in ("first", "second"):
        with serving(bundle, tmp_path / name, with_token=False) as url:
            trader = Trader(url, history, bundle.rules.risk.initial_equity)
            trader.start()
            found.append(trader.wait())
    first, second = found
    assert len(first.decided) == len(history) - 1 - history.first_decision
    assert first.ordered
    assert first.booked
    assert (first.lost, first.refused, first.wrong(second)) == (0, [], 0)
    assert first.decided == second.decided

"""What was backtested is what answers: a file streamed to the service, decision by decision.

Bars go through ``/bars`` one by one, each decision comes from ``/decide`` by symbol, orders are
filled by the paper broker and reported to ``/fills``. Decisions, orders, fills and P&L equal those
of ``tactical backtest`` with its defaults, bit for bit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from rllib_tactical.backtest.result import END_OF_DATA, BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.live.paper import Calls, PaperResult, follow, paper_session
from serve.client import AsyncDecisionClient, DecisionClient
from serve.http.security import TOKEN_VARIABLE
from tests.contract import parity
from tests.contract.parity import Case, backtest, differences, opinionated
from tests.ports import ports_of_serve
from tests.serve.local import SERVICE, running

pytestmark = pytest.mark.slow

MARKETS: dict[str, Callable[[], Case]] = {
    "synthetic with synergies": parity.synthetic,
    "daylight saving": parity.daylight_saving,
    "half day": parity.half_day,
    "maintenance hour": parity.maintenance_hour,
    "out of hours": parity.out_of_hours,
    "halts": parity.halts,
    "holes around the clock": lambda: parity.holes(parity.synthetic()),
    "holes in New York": lambda: parity.holes(parity.half_day()),
    "holes in Chicago": lambda: parity.holes(parity.maintenance_hour()),
}


async def followed(client: AsyncDecisionClient, session: Calls) -> PaperResult:
    answer: Any = None
    while True:
        try:
            call = session.send(answer)
        except StopIteration as end:
            result: PaperResult = end.value
            return result
        answer = await client.make(call)


def traded(bundle: Bundle, folder: Path, result: BacktestResult) -> tuple[PaperResult, Any]:
    """Return what a service in this process did with the bars of a backtest, and its P&L."""

    async def run() -> tuple[PaperResult, Any]:
        async with running(bundle, folder, service=SERVICE) as cluster:
            transport = httpx.ASGITransport(app=cluster.apps[0])
            url = "http://127.0.0.1"
            async with AsyncDecisionClient(url, timeout_s=30.0, transport=transport) as client:
                session = paper_session(result.history, result.rules.risk.initial_equity)
                paper = await followed(client, session)
                return paper, await client.performance(3650)

    return asyncio.run(run())


def assert_equal(result: BacktestResult, paper: PaperResult, performance: Any) -> None:
    found = differences(result, paper)
    bars = {bar for bar, *_ in found}
    assert not found, f"{len(bars)} of {len(paper.answers)} bars differ, first {found[:3]}"
    closed = result.trades[result.trades["exit_reason"] != END_OF_DATA]
    assert performance.trades == len(closed)
    assert performance.net_pnl == pytest.approx(closed["pnl"].sum(), rel=1e-12)


@pytest.mark.parametrize("name", MARKETS)
def test_the_service_answers_what_was_backtested(name: str, tmp_path: Path) -> None:
    case = MARKETS[name]()
    bundle = opinionated(tmp_path / "bundle", case)
    result = backtest(bundle, case, tmp_path)
    assert len(result.trades) > 3
    assert_equal(result, *traded(bundle, tmp_path, result))


REAL: dict[str, tuple[str, str, str]] = {
    "daylight saving": ("2024-10-28", "2024-11-06", "detect"),
    "half day": ("2024-11-21", "2024-12-04", "none"),
}


@pytest.mark.parametrize("with_holes", [False, True], ids=["whole", "with holes"])
@pytest.mark.parametrize("name", REAL)
def test_real_bars_are_answered_as_backtested(
    name: str, with_holes: bool, real_data: Path, tmp_path: Path
) -> None:
    start, stop, synergies = REAL[name]
    case = parity.real(real_data, "TQQQ_5m_RTH_2022-01_2026-02.csv.gz", "TQQQ", start, stop)
    case = parity.holes(case) if with_holes else case
    bundle = opinionated(tmp_path / "bundle", case, synergies)
    result = backtest(bundle, case, tmp_path)
    assert len(result.trades) > 3
    assert_equal(result, *traded(bundle, tmp_path, result))


def test_what_differs_is_found(tmp_path: Path) -> None:
    """A service without the hold after a gap, and one without synergies, do not pass."""
    case = parity.holes(parity.half_day())
    bundle = opinionated(tmp_path / "bundle", case)
    result = backtest(bundle, case, tmp_path)
    risk = replace(case.rules.risk, hold_bars_after_gap=0)
    for number, (other, synergies) in enumerate(
        (
            (replace(case, rules=replace(case.rules, risk=risk)), "detect"),
            (case, "none"),
        )
    ):
        folder = tmp_path / str(number)
        paper, _ = traded(opinionated(folder / "bundle", other, synergies), folder, result)
        assert {bar for bar, *_ in differences(result, paper)}


@pytest.fixture
def ports() -> Iterator[None]:
    """Wait for other real services to end."""
    with ports_of_serve():
        yield


@pytest.mark.slow
@pytest.mark.serve
@pytest.mark.ray
def test_a_real_service_answers_what_was_backtested(
    ports: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its normal start: Ray, Serve and its proxy; over a socket."""
    from serve.deploy.launcher import start_service

    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    case = parity.holes(parity.synthetic())
    bundle = opinionated(tmp_path / "bundle", case)
    result = backtest(bundle, case, tmp_path)
    service = replace(SERVICE, max_bar_age_s=600.0)
    config = TacticalConfig(service=service)
    with (
        start_service(bundle.path, port=0, config=config, state=tmp_path / "state") as running_one,
        DecisionClient(running_one.url, timeout_s=30.0) as client,
    ):
        session = paper_session(result.history, result.rules.risk.initial_equity)
        paper = follow(client, session)
        assert_equal(result, paper, client.performance(3650))

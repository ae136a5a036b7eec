"""The service in this process answers as the service over HTTP does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.local import LocalService
from rllib_tactical.live.paper import follow, paper_session
from serve.api.write_requests import BarInput, BrokerAccount, FillInput
from serve.client import ServiceAnswerError, calls
from tests.contract import parity

pytestmark = pytest.mark.slow

START = 1_700_000_100
BARS = [BarInput(START + 300 * n, 100.0, 101.0, 99.0, 100.0, 5.0) for n in range(3)]


@pytest.mark.parametrize("name", ["synthetic", "half_day", "halts"])
def test_it_decides_what_was_backtested(name: str, tmp_path: Path) -> None:
    case = getattr(parity, name)()
    case = case if name == "halts" else parity.holes(case)
    bundle = parity.opinionated(tmp_path / "bundle", case)
    result = parity.backtest(bundle, case, tmp_path)
    session = paper_session(result.history, result.rules.risk.initial_equity)
    paper = follow(LocalService(bundle), session)
    assert len(result.trades) > 3
    assert parity.differences(result, paper) == []


def test_bars_and_fills_count_once_and_the_account_is_adopted(bundle: Bundle) -> None:
    service = LocalService(bundle)
    assert service.make(calls.send_bars("TEST", BARS)).accepted == 3
    assert service.make(calls.send_bars("TEST", BARS)).repeated == 3
    fill = FillInput("a", "BUY", 2.0, 100.0, START + 600, 0.0)
    assert service.make(calls.send_fills("TEST", [fill])).position == 2.0
    assert service.make(calls.send_fills("TEST", [fill])).repeated == 1
    broker = BrokerAccount(-1.0, 99_000.0, 100.0)
    seen = service.make(calls.account("TEST", "ops", "start", broker=broker))
    assert (seen.position_difference, seen.reconciled) == (-3.0, False)
    taken = service.make(calls.account("TEST", "ops", "start", broker=broker, adopt=True))
    assert (taken.position, taken.equity, taken.reconciled) == (-1.0, 99_000.0, True)


def test_an_operator_s_order_is_in_force_at_once(bundle: Bundle) -> None:
    case_bars = [BarInput(START + 300 * n, 100.0, 101.0, 99.0, 100.0, 5.0) for n in range(400)]
    service = LocalService(bundle)
    service.make(calls.send_bars("TEST", case_bars))
    assert service.make(calls.override("pause", request_id="1")).override == "pause"
    assert service.make(calls.decide(symbol="TEST")).decision.reason == "paused"
    assert service.make(calls.override("pause", request_id="1")).repeated


def test_what_the_service_refuses_is_refused(bundle: Bundle) -> None:
    service = LocalService(bundle)
    with pytest.raises(ServiceAnswerError, match="this service is for 'TEST'") as refused:
        service.make(calls.send_bars("OTHER", BARS))
    assert (refused.value.status, refused.value.field) == (422, "symbol")
    with pytest.raises(ServiceAnswerError, match="360 bars have to be sent"):
        service.make(calls.decide(symbol="TEST"))
    with pytest.raises(ServiceError, match="GET /health needs a running service"):
        service.make(calls.health())


ALONE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hide())
from pathlib import Path
from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.live.local import LocalService
from serve.api.write_requests import BarInput
from serve.client import calls

service = LocalService(load_bundle(Path(sys.argv[1])))
bars = [BarInput(1_700_000_100 + 300 * n, 100.0, 101.0, 99.0, 100.0, 5.0) for n in range(400)]
service.make(calls.send_bars("TEST", bars))
print(service.make(calls.decide(symbol="TEST")).decision.reason)
"""


def test_inference_needs_neither_ray_nor_pandas_nor_an_http_library(
    bundle: Bundle, project_root: Path
) -> None:
    hidden = {"ray", "pandas", "torch", "scipy", "httpx", "websockets", "exchange_calendars"}
    hidden |= {"pyarrow", "rich", "uvicorn", "gymnasium"}
    code = ALONE.format(hidden=hidden)
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path)],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()

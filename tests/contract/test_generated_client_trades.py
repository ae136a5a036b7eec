"""A client that somebody else's tool made from the document trades like the backtest.

It sends the bars of a market, asks for decisions, reports fills, reconciles the account and reads
the P&L, all by the functions and models that openapi-python-client generates.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from rllib_tactical.live.paper import follow, paper_session
from serve.api.operations import ACCOUNT, DECIDE, PERFORMANCE
from serve.api.write_requests import BrokerAccount
from serve.client import calls
from serve.client.calls import Call
from tests.contract import parity
from tests.contract.parity import backtest, opinionated
from tests.contract.test_parity_over_http import assert_equal
from tests.serve.http.test_generated_clients import (
    HEADERS,
    TOKEN,
    generate,
    imported,
    needs,
    serving,
)

pytestmark = pytest.mark.slow


class Generated:
    """Makes calls with the generated package ``name``; counts them by operation."""

    def __init__(self, name: str, client: Any) -> None:
        self._name, self._client = name, client
        self._models = importlib.import_module(f"{name}.models")
        self.made: dict[str, int] = {}

    def make(self, call: Call[Any]) -> Any:
        operation = call.operation
        module = importlib.import_module(f"{self._name}.api.default.{operation.name}")
        self.made[operation.name] = self.made.get(operation.name, 0) + 1
        if operation.request is None:
            query = {name: int(value) for name, value in (call.params or {}).items()}
            response = module.sync_detailed(client=self._client, **query)
        else:
            model = getattr(self._models, operation.request.__name__)
            body = model.from_dict(msgspec.json.decode(call.content()))
            response = module.sync_detailed(client=self._client, body=body)
        assert response.status_code == 200, response.content
        # what its models have, not the bytes that came
        return msgspec.convert(response.parsed.to_dict(), operation.answer)


@needs("openapi_python_client")
def test_a_generated_client_earns_what_was_backtested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = parity.daylight_saving()
    bundle = opinionated(tmp_path / "bundle", case)
    result = backtest(bundle, case, tmp_path)
    assert len(result.trades) > 3
    with serving(bundle, tmp_path) as url:
        document = tmp_path / "openapi.json"
        served = httpx.get(f"{url}/openapi.json", headers=HEADERS, trust_env=False)
        document.write_bytes(served.raise_for_status().content)
        settings = tmp_path / "settings.yaml"
        settings.write_text("post_hooks: []\n", encoding="utf-8")
        generate(
            "openapi_python_client",
            "generate",
            f"--path={document}",
            f"--config={settings}",
            f"--output-path={tmp_path / 'generated_trader'}",
            "--meta=none",
            "--fail-on-warning",
        )
        package = imported("generated_trader", tmp_path, monkeypatch)
        with package.AuthenticatedClient(
            url, TOKEN, raise_on_unexpected_status=True, httpx_args={"trust_env": False}
        ) as client:
            trader = Generated("generated_trader", client)
            paper = follow(trader, paper_session(result.history, 100_000.0))
            position = sum(fill.side * fill.quantity for fill in paper.fills)
            account = trader.make(
                calls.account(
                    case.instrument.symbol,
                    by="broker",
                    note="end of day",
                    broker=BrokerAccount(position=position, equity=paper.equity[-1]),
                )
            )
            performance = trader.make(calls.performance(3650))
    assert_equal(result, paper, performance)
    assert (account.position_difference, account.reconciled) == (0.0, True)
    assert account.equity_difference == pytest.approx(0.0, abs=1e-6)
    assert trader.made[ACCOUNT.name] == trader.made[PERFORMANCE.name] == 1
    assert trader.made[DECIDE.name] == len(paper.answers)

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.metrics import compute_metrics, total_daily, total_equity
from rllib_tactical.backtest.portfolio import Portfolio, combine
from rllib_tactical.backtest.report.writer import FILES, write_backtest, write_portfolio
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from tests.backtest.scenes import result_of

pytestmark = pytest.mark.slow

CONTEXT = ReportContext("Both")


@pytest.fixture(scope="module")
def portfolio(history: MarketHistory, comparison: Comparison) -> Portfolio:
    index = np.random.default_rng(8).integers(0, 3, (900, 3))
    other = compare_votes(constant_votes(index, 0.9), history, Rules(), 600, 1_500, label="Noise")
    return combine({"A": comparison, "B": other})


def test_two_accounts_by_hand() -> None:
    # the same two times; sessions 0 and 1 fall on the same date: P&L adds up by date
    one = result_of([1000.0, 1010.0, 1005.0], [0, 0, 0], [{"pnl": 5.0}])
    two = result_of([2000.0, 1990.0, 2040.0], [0, 0, 0], [{"pnl": 60.0}, {"pnl": -20.0}])
    total = total_equity((one, two))
    assert total["equity"].tolist() == [3000.0, 3000.0, 3045.0]
    daily = total_daily((one, two))
    assert daily["pnl"].tolist() == [45.0]
    assert daily["opening"].tolist() == [3000.0]
    metrics = compute_metrics(one, two)
    assert metrics["net_pnl"] == 45.0
    assert metrics["return"] == pytest.approx(45 / 3000)
    assert metrics["trades"] == 3
    assert metrics["win_rate"] == pytest.approx(2 / 3)
    assert metrics["profit_factor"] == pytest.approx(65 / 20)
    assert metrics["max_drawdown"] == 0.0


def test_an_account_counts_with_its_last_equity_where_it_has_no_bar() -> None:
    one = result_of([1000.0, 1010.0, 1020.0], [0, 0, 0])
    two = result_of([500.0, 490.0, 480.0], [0, 0, 0])
    two.equity["timestamp"] += pd.Timedelta(minutes=5)
    assert total_equity((one, two))["equity"].tolist() == [1500.0, 1510.0, 1510.0, 1500.0]


def test_sums_over_the_parts(portfolio: Portfolio) -> None:
    parts = list(portfolio.parts.values())
    assert portfolio.policy.metrics["net_pnl"] == pytest.approx(
        sum(part.policy.result.net_pnl for part in parts)
    )
    assert portfolio.policy.days().pnl.sum() == pytest.approx(portfolio.policy.metrics["net_pnl"])
    assert portfolio.policy.metrics["trades"] == sum(p.full_rule_trades for p in parts)
    assert [run.name for run in portfolio.runs] == [run.name for run in parts[0].runs]
    assert portfolio.significance is not None
    json.dumps(portfolio.to_dict(), allow_nan=False)


def test_everything_is_written_and_replaced(
    portfolio: Portfolio, comparison: Comparison, tmp_path: Path
) -> None:
    read = {"A": "bars of A read as kraken", "B": "bars of B read as mt5"}
    described = {
        name: (ReportContext(name, (("read as", read[name]), ("program", "x"))), {"part": name})
        for name in portfolio.parts
    }
    write_portfolio(portfolio, tmp_path, CONTEXT, {"parts": ["A", "B"]}, described)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "parts"])
    for name in portfolio.parts:
        folder = tmp_path / "parts" / name
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    trades = pd.read_csv(tmp_path / "trades.csv")
    assert trades.columns[0] == "part"
    assert len(trades) == portfolio.policy.metrics["trades"]
    equity = pd.read_parquet(tmp_path / "equity.parquet")
    assert set(equity["part"]) == {"A", "B"}
    html = (tmp_path / "report.html").read_text()
    assert 'href="parts/B/report.html"' in html
    conditions = html.split("<h2>Conditions</h2>")[1].split("</section>")[0]
    for name in portfolio.parts:
        part = conditions.split(f"<h3>{name}</h3>")[1].split("<h3>")[0]
        names = ["Capital", "Costs", "Rules", "Read as"]
        assert re.findall("<dt>(.*?)</dt>", part) == names
        assert read[name] in part
    rows = re.search(r"const {columns, rows} = ({.*});", html)
    assert rows is not None
    listed = json.loads(rows[1])
    assert [column["name"] for column in listed["columns"][:2]] == ["part", "entry_time"]
    assert len(listed["rows"]) == len(trades)
    assert {row[0][0] for row in listed["rows"]} == {"A", "B"}
    assert all(len(row) == len(listed["columns"]) for row in listed["rows"])
    # a later backtest of one of them leaves nothing of the other behind
    one = combine({"A": comparison})
    write_portfolio(one, tmp_path, CONTEXT, {}, {"A": described["A"]})
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["A"]
    write_backtest(comparison, tmp_path, CONTEXT, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from rllib_tactical.backtest.comparison import compare_votes
from rllib_tactical.backtest.policies import always_long
from rllib_tactical.backtest.report.writer import write_backtest
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.config.loader import to_dict
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory

VERSION1 = Path(__file__).parents[1] / "fixtures" / "version1"


@pytest.fixture(scope="package")
def results(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """Return a folder with a run, a sweep and two backtests, and a file that is none of them."""
    from tests.backtest.scenes import scene

    top = tmp_path_factory.mktemp("results")
    for name in ("run", "sweep"):
        with tarfile.open(VERSION1 / f"{name}.tar.xz") as archive:
            archive.extractall(top / "trained", filter="data")
    (top / "notes.txt").write_text("nothing of ours")
    rows = [(100.0, 104.0, 100.0, 104.0)] * 40
    for name, stop_atr in (("near", 2.0), ("far", 4.0)):
        write(scene(rows), Rules(orders=OrderConfig(stop_atr=stop_atr)), top / "traded" / name)
    return top


def write(history: MarketHistory, rules: Rules, out: Path) -> None:
    start, stop = history.first_decision, len(history)
    votes = always_long(history, start, stop)
    comparison = compare_votes(
        votes, history, rules, start, stop, train_confidence=None, with_baselines=False
    )
    config = {
        "policy": "always-long",
        "data": {"name": "bars.csv", "sha256": "ab" * 32},
        "instrument": to_dict(history.instrument),
        "rules": to_dict(rules),
    }
    write_backtest(comparison, out, ReportContext("Test"), config)

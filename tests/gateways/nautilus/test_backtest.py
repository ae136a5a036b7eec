"""Every trade of Nautilus' backtest engine beside that of ``tactical backtest``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.decision.orders import round_to_tick
from rllib_tactical.domain.types import Bars
from rllib_tactical.gateways.comparison import (
    CUT_OFF,
    EQUAL,
    FOLLOWS,
    GAP,
    UNEXPLAINED,
    Compared,
    compare,
    trades_of,
)
from tests.contract import parity
from tests.contract.parity import Case
from tests.gateways.nautilus.inside import run_inside

pytestmark = pytest.mark.slow

MODULE = "rllib_tactical.gateways.nautilus.backtest"


def without_slippage(case: Case, lots: float) -> Case:
    """Return a case in which both sides fill at the same prices, on the tick."""
    instrument = replace(
        case.instrument,
        half_spread_ticks=0.0,
        slippage_ticks=0.0,
        slippage_atr_share=0.0,
        base_quantity=lots,
    )
    bars, tick = case.bars, instrument.tick_size
    rounded = Bars(
        bars.timestamp_s,
        round_to_tick(bars.open, tick),
        round_to_tick(bars.high, tick),
        round_to_tick(bars.low, tick),
        round_to_tick(bars.close, tick),
        bars.volume,
    )
    return replace(case, instrument=instrument, bars=rounded)


def traded(
    python: str, root: Path, folder: Path, case: Case
) -> tuple[BacktestResult, list[Compared], dict[str, float]]:
    """Trade a case on both sides; return the backtest, the comparison and the engine's totals."""
    bundle = parity.opinionated(folder / "bundle", case)
    result = parity.backtest(bundle, case, folder)
    write_bars(case.bars, folder / "bars.csv")
    given = ["--bundle", bundle.path, "--data", folder / "bars.csv", "--out", folder / "fills.json"]
    run_inside(python, root, "-m", MODULE, *map(str, given))
    run = json.loads((folder / "fills.json").read_text())
    return result, compare(result, trades_of(run.pop("fills"), result)), run


CASES = {
    "synthetic": (parity.synthetic, 20.0, {EQUAL, GAP}),
    "half day": (parity.half_day, 100.0, {EQUAL}),
    "daylight saving": (parity.daylight_saving, 100.0, {EQUAL, GAP}),
    "maintenance hour": (parity.maintenance_hour, 1.0, {EQUAL, GAP}),
    "holes": (lambda: parity.holes(parity.half_day()), 100.0, {EQUAL, GAP, CUT_OFF, FOLLOWS}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_trade_is_the_backtest_s_or_its_difference_is_known(
    name: str, nautilus_python: str, project_root: Path, tmp_path: Path
) -> None:
    make, lots, allowed = CASES[name]
    case = without_slippage(make(), lots)
    result, compared, run = traded(nautilus_python, project_root, tmp_path, case)
    assert len(result.trades) > 3
    found = Counter(each.verdict for each in compared)
    assert set(found) <= allowed, [each for each in compared if each.verdict not in allowed]
    assert found[EQUAL] >= len(compared) / 2
    # the books of the service are the engine's, but for cents that the engine rounds
    cents = 0.01 * (2 * len(compared) + 1)
    assert run["service_equity"] == pytest.approx(run["equity"], abs=cents)
    if found[EQUAL] == len(compared):
        assert run["equity"] - 100_000.0 == pytest.approx(result.net_pnl, abs=cents)


REAL = {
    "TQQQ": ("TQQQ_5m_RTH_2022-01_2026-02.csv.gz", "TQQQ", "2024-10-28", "2024-12-04", 100.0),
    "BTC": ("BTCUSDT_perp_5m_2025-03_2025-04.parquet", "BTCUSDT", "2025-03-01", "2025-03-11", 0.1),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_bars_are_traded_as_backtested(
    name: str, nautilus_python: str, project_root: Path, real_data: Path, tmp_path: Path
) -> None:
    file, instrument, start, stop, lots = REAL[name]
    case = without_slippage(parity.real(real_data, file, instrument, start, stop), lots)
    _, compared, _ = traded(nautilus_python, project_root, tmp_path, case)
    found = Counter(each.verdict for each in compared)
    assert found[UNEXPLAINED] == 0
    assert found[EQUAL] > 0.95 * len(compared)
    assert found[FOLLOWS] < 0.02 * len(compared)

"""The session's drawdown limit holds on every market: one bar may break it, the next ends it."""

import dataclasses

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.data.dataset import DataSource, load_dataset
from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.synthetic import MARKETS, make_market

LIMIT = 0.02
# bars, and whether they are wild enough to reach the limit: sizes shrink as it comes near
REAL = {
    "TQQQ_5m_RTH_2022-01_2026-02.csv.gz": True,
    "BTCUSDT_perp_5m_2025-03_2025-04.parquet": False,
    "ETHUSDT_perp_5m_2025-03_2025-04.parquet": False,
}


def reckless_votes(count: int, seed: int):
    """Votes that are nearly always in the market, aggressively, on random sides."""
    rng = np.random.default_rng(seed)
    side = rng.choice([0, 2], count)
    return constant_votes(np.stack([side, side, np.full(count, 2)], axis=1), 1.0)


def check(history):
    """Return the number of sessions that hit the limit, after checking each of them."""
    start, stop = history.first_decision, len(history)
    result = run_backtest(history, reckless_votes(stop - start, 1), Rules(), start, stop)
    assert len(result.trades) > 100
    hit = 0
    for _, session in result.equity.groupby("session"):
        drawdown = session["session_drawdown"].to_numpy()
        over = np.flatnonzero(drawdown >= LIMIT)
        if not len(over):
            continue
        hit += 1
        first = over[0]
        # flat from the next open on: nothing is won or lost any more in this session
        assert (session["position"].to_numpy()[first + 1 :] == 0).all()
        later = session["equity"].to_numpy()[first + 1 :]
        assert (later == later[:1]).all()
    return hit


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKETS)
def test_on_synthetic_markets(name):
    assert check(make_market(name, 5, 8_000, 0.3).history()) > 0


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_on_real_bars(name, real_data):
    path = real_data / name
    instrument = instrument_for(None, path)
    history = load_dataset(DataSource(path, instrument)).sized(WarmUpBars()).history
    assert instrument.base_quantity is not None
    # as large as the other limits let it be
    large = dataclasses.replace(instrument, base_quantity=20 * instrument.base_quantity)
    assert (check(dataclasses.replace(history, instrument=large)) > 0) is REAL[name]

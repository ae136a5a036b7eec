from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.backtest.engine import bundle_votes, hold_votes, run_backtest
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import probabilities
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes, constant_votes, greedy_votes, sample_votes
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import Reason, Sessions
from rllib_tactical.errors import ConfigError, DataError
from tests.backtest.scenes import LONG, START, scene, votes_on
from tests.domain.builders import gappy_sessions
from tests.market import INSTRUMENT, random_bars, sessions_of_length

COLUMNS = {
    "execute": lambda step: step.decision.execute[0],
    "quantity": lambda step: step.decision.quantity[0],
    "requested": lambda step: step.decision.requested[0],
    "score": lambda step: step.decision.vote.score[0],
    "reason": lambda step: Reason(int(step.decision.reason[0])).code,
    "entered": lambda step: step.entered[0],
}


def random_votes(count: int, seed: int, confidence: float = 1.0) -> Votes:
    return constant_votes(np.random.default_rng(seed).integers(0, 3, (count, 3)), confidence)


def assert_equals_the_loop(
    history: MarketHistory, votes: Votes, rules: Rules, start: int, stop: int
) -> int:
    """Compare with one account stepped bar by bar; return the number of passes it took."""
    result = run_backtest(history, votes, rules, start, stop)
    simulator = Simulator(history, rules, RewardConfig(), 1)
    simulator.reset(np.array([0]), np.array([start]))
    equity, position, pnl, costs = [simulator.equity[0]], [0.0], [], []
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    base, bonus, reasons = [], [], []
    for row in range(stop - start - 1):
        step = simulator.step(Votes(votes.index[row : row + 1], votes.confidence[row : row + 1]))
        equity.append(simulator.equity[0])
        position.append(simulator.side[0] * simulator.quantity[0])
        for name, read in COLUMNS.items():
            columns[name].append(read(step))
        base.append(step.base[0])
        bonus.append(step.bonus[0])
        if step.exited[0]:
            pnl.append(step.trade_pnl[0])
            costs.append(step.trade_cost[0])
            reasons.append(ExitReason(int(step.exit_reason[0])).name.lower())
    np.testing.assert_array_equal(result.equity["equity"], equity)
    np.testing.assert_array_equal(result.equity["position"], position)
    for name, values in columns.items():
        assert result.decisions[name].tolist() == values, name
    np.testing.assert_array_equal(result.base, base)
    np.testing.assert_array_equal(result.bonus, bonus)
    closed = result.trades[result.trades["exit_reason"] != "end_of_data"]
    np.testing.assert_array_equal(closed["pnl"], pnl)
    np.testing.assert_array_equal(closed["costs"], costs)
    assert closed["exit_reason"].tolist() == reasons
    assert len(result.trades) - len(closed) == (position[-1] != 0)
    assert round(float(result.trades["pnl"].sum()), 2) == round(result.net_pnl, 2)
    return result.passes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("confidence", [0.9, 1.0])
def test_sessions_side_by_side_equal_one_account_bit_for_bit(
    history: MarketHistory, seed: int, confidence: float
) -> None:
    votes = random_votes(1_100, seed, confidence)
    assert_equals_the_loop(history, votes, Rules(), 700, 1_800)


def test_equal_also_when_every_size_follows_equity(history: MarketHistory) -> None:
    rules = Rules(risk=RiskConfig(max_leverage=0.1, max_risk_per_trade=0.0005))
    instrument = dataclasses.replace(history.instrument, lot_step=0.001)
    narrow = dataclasses.replace(history, instrument=instrument)
    passes = assert_equals_the_loop(narrow, random_votes(1_200, 7), rules, 400, 1_600)
    assert passes > 2  # the guesses were wrong at first, so this shows that they are mended


def test_equal_when_the_account_is_ruined(history: MarketHistory) -> None:
    rules = Rules(risk=RiskConfig(initial_equity=600.0, max_leverage=400.0))
    assert_equals_the_loop(history, random_votes(1_500, 2), rules, 400, 1_900)


def test_a_lost_account_ends_the_trading() -> None:
    crash = [(100.0, 101.0, 99.0, 100.0), (30.0, 31.0, 29.0, 30.0)]
    history = scene([*crash, *[(30.0, 30.5, 29.5, 30.0)] * 20], session_bars=START + 6)
    large = dataclasses.replace(history.instrument, base_quantity=400.0)
    history = dataclasses.replace(history, instrument=large)
    rules = Rules(risk=RiskConfig(max_risk_per_trade=1.0, session_drawdown_limit=1.0))
    votes = votes_on(22, dict.fromkeys(range(22), LONG))
    result = run_backtest(history, votes, rules, START, START + 22)
    assert result.lost_row == 2
    assert len(result.trades) == 1
    assert (result.equity["equity"].iloc[2:] == result.equity["equity"].iloc[2]).all()
    assert set(result.decisions["reason"].iloc[2:]) == {"account_lost"}


def test_equal_with_sessions_of_ragged_lengths_and_a_start_inside_one() -> None:
    rng, count = np.random.default_rng(4), 1_300
    starts = np.zeros(count, dtype=bool)
    starts[np.unique(np.concatenate([[0], rng.integers(1, count, 60)]))] = True
    last = np.append(starts[1:], True)
    elapsed = sessions_of_length(count).elapsed
    sessions = Sessions.without_gaps(np.cumsum(starts) - 1, starts, last, elapsed)
    history = build_history(random_bars(count, 9), sessions, INSTRUMENT)
    assert_equals_the_loop(history, random_votes(900, 5), Rules(), 361, 1_261)


@pytest.mark.slow
def test_equal_with_breaks_bars_out_of_hours_and_bars_that_did_not_come() -> None:
    for seed in range(3):
        sessions = gappy_sessions(np.random.default_rng(seed), 1_300)
        history = build_history(random_bars(1_300, seed), sessions, INSTRUMENT)
        assert_equals_the_loop(history, random_votes(900, seed), Rules(), 361, 1_261)


def test_equal_in_a_single_endless_session() -> None:
    history = build_history(random_bars(900, 1), sessions_of_length(900, 900), INSTRUMENT)
    assert assert_equals_the_loop(history, random_votes(500, 6), Rules(), 380, 880) == 1


def test_nothing_beyond_stop_is_touched(history: MarketHistory) -> None:
    votes = random_votes(600, 8)
    shorter = dataclasses.replace(
        build_history(history.bars[:1_100], sessions_of_length(1_100), history.instrument),
        instrument=history.instrument,
    )
    whole = run_backtest(history, votes, Rules(), 500, 1_100).equity["equity"]
    # the last bar of a file closes its session, hence the comparison ends before it
    np.testing.assert_array_equal(
        whole[:-1], run_backtest(shorter, votes, Rules(), 500, 1_100).equity["equity"][:-1]
    )


def test_the_last_vote_is_not_acted_upon(history: MarketHistory) -> None:
    votes = random_votes(600, 8)
    changed = Votes(votes.index.copy(), votes.confidence)
    changed.index[-1] = (2, 2, 2)
    one, other = (run_backtest(history, v, Rules(), 500, 1_100) for v in (votes, changed))
    assert one.equity.equals(other.equity)


def test_tables_cover_the_bars_they_claim(history: MarketHistory) -> None:
    result = run_backtest(history, random_votes(600, 8), Rules(), 500, 1_100)
    assert result.equity["bar"].tolist() == list(range(500, 1_100))
    assert result.decisions["bar"].tolist() == list(range(500, 1_099))
    times = result.equity["timestamp"].astype("int64") // 10**6
    np.testing.assert_array_equal(times, history.bars.timestamp_s[500:1_100])
    ordered = result.decisions[result.decisions["entered"]]
    assert ordered[["stop", "target"]].notna().all().all()
    assert result.decisions.loc[~result.decisions["execute"], "stop"].isna().all()


@pytest.mark.parametrize(
    ("start", "stop", "count"), [(100, 900, 800), (500, 501, 1), (500, 9_999, 9_499)]
)
def test_a_range_outside_the_history_is_refused(
    history: MarketHistory, start: int, stop: int, count: int
) -> None:
    with pytest.raises(DataError, match=f"found {start} to {stop}"):
        run_backtest(history, hold_votes(count), Rules(), start, stop)


def test_votes_of_another_length_are_refused(history: MarketHistory) -> None:
    with pytest.raises(DataError, match=r"shape \(100, 3\).*found \(99, 3\)"):
        run_backtest(history, hold_votes(99), Rules(), 500, 600)


@pytest.mark.slow
def test_bundle_votes_are_the_greedy_votes_of_its_networks(
    bundle: Bundle, history: MarketHistory
) -> None:
    t = np.arange(400, 700)
    seen: list[tuple[int, int]] = []
    votes = bundle_votes(
        bundle, history, t, progress=lambda done, total: seen.append((done, total))
    )
    agent_probabilities = probabilities(bundle.engine(), history.inputs.gather(t), 0.25)
    expected = greedy_votes(agent_probabilities)
    np.testing.assert_array_equal(votes.index, expected.index)
    np.testing.assert_array_equal(votes.confidence, expected.confidence)
    assert seen == [(300, 300)]


def test_bundle_votes_can_be_sampled_and_rescaled(bundle: Bundle, history: MarketHistory) -> None:
    t = np.arange(400, 500)
    one = bundle_votes(bundle, history, t, 8.0, mode="sample", seed=4)
    agent_probabilities = probabilities(bundle.engine(), history.inputs.gather(t), 8.0)
    expected = sample_votes(agent_probabilities, np.random.default_rng(4).random((100, 3)))
    np.testing.assert_array_equal(one.index, expected.index)
    np.testing.assert_array_equal(
        one.index, bundle_votes(bundle, history, t, 8.0, mode="sample", seed=4).index
    )
    other = bundle_votes(bundle, history, t, 8.0, mode="sample", seed=5)
    assert (one.index != other.index).any()


def test_an_unknown_mode_is_refused(bundle: Bundle, history: MarketHistory) -> None:
    with pytest.raises(ConfigError, match="found 'best'"):
        bundle_votes(bundle, history, np.arange(400, 401), mode="best")

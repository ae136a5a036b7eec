"""The accounts of a simulator: started afresh, seen by the critic, and refused when wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import ConstantVotes, Votes
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES, Simulator
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.domain.types import FloatArray, IntArray
from rllib_tactical.errors import ArrayError
from tests.domain.builders import (
    FUTURE,
    SHARE,
    hand_history,
    history_of,
    random_bars,
    random_sessions,
)
from tests.domain.simulation.plays import (
    HOLD,
    LONG,
    QUIET,
    SHORT,
    open_ended,
    play,
    votes_of,
)
from tests.domain.simulation.random_markets import (
    random_history,
    random_votes,
)
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_reset_starts_some_accounts_afresh_and_leaves_the_others() -> None:
    history = random_history(3, FUTURE, 120)
    rng = np.random.default_rng(0)
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    for _ in range(60):
        simulator.step(random_votes(rng, 4))
    simulator.side[:], simulator.quantity[:], simulator.halted[:] = 1, 2.0, True
    equity = simulator.equity.copy()
    simulator.reset(np.array([1, 3]), np.array([5, 9]))
    assert simulator.t.tolist() == [60, 5, 60, 9]
    assert simulator.side.tolist() == [1, 0, 1, 0]
    assert simulator.quantity.tolist() == [2.0, 0.0, 2.0, 0.0]
    assert simulator.halted.tolist() == [True, False, True, False]
    assert simulator.equity[[1, 3]].tolist() == [100_000.0] * 2
    assert simulator.session_peak[[1, 3]].tolist() == [100_000.0] * 2
    assert simulator.cash[[1, 3]].tolist() == [100_000.0] * 2
    np.testing.assert_array_equal(simulator.equity[[0, 2]], equity[[0, 2]])


def test_reset_takes_the_equity_to_start_with() -> None:
    simulator = Simulator(random_history(3, FUTURE, 120), Rules(), RewardConfig(), 3)
    simulator.reset(np.array([0, 2]), np.array([5, 9]), np.array([70_000.0, 80_000.0]))
    for values in (simulator.equity, simulator.cash, simulator.session_peak):
        assert values.tolist() == [70_000.0, 100_000.0, 80_000.0]


def test_a_finished_step_is_not_changed_by_the_next_one() -> None:
    history = random_history(4, SHARE, 120)
    rng = np.random.default_rng(1)
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    for _ in range(40):
        step = simulator.step(random_votes(rng, 4))
        names = [item.name for item in dataclasses.fields(Step) if item.name != "decision"]
        copies = [getattr(step, name).copy() for name in names]
        simulator.step(random_votes(rng, 4))
        simulator.reset(np.array([0]), simulator.t[:1])
        for name, copy in zip(names, copies, strict=True):
            np.testing.assert_array_equal(getattr(step, name), copy)


def test_account_features_by_hand() -> None:
    simulator, _ = play(
        [QUIET, QUIET, (100, 101, 99, 99), QUIET], LONG, HOLD, atr=2.0, sessions=open_ended(4)
    )
    assert ACCOUNT_FEATURES == (
        "position_side",
        "unrealised_pnl_atr",
        "bars_in_trade",
        "session_drawdown_used",
    )
    out = simulator.account_features()
    assert out.dtype == np.float32
    assert out.tolist() == [[1.0, 0.0, np.float32(3 / 60), 0.0]]  # held on bars 1, 2 and 3
    history = hand_history([QUIET, QUIET, (100, 101, 99, 99)], atr=2.0, sessions=open_ended(3))
    down = Simulator(history, Rules(), RewardConfig(), 1)
    down.step(votes_of(LONG))
    down.step(votes_of(HOLD))
    # -1 point is -0.5 ATR and -$10 of the $2,000 that the session may lose
    np.testing.assert_allclose(down.account_features(), [[1.0, -0.5, 2 / 60, 0.005]], rtol=1e-6)
    flat = Simulator(history, Rules(), RewardConfig(), 1)
    flat.step(votes_of(HOLD))
    assert flat.account_features().tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_account_features_are_bounded() -> None:
    history = hand_history([QUIET] * 4, atr=0.001, sessions=open_ended(4))
    simulator = Simulator(history, Rules(), RewardConfig(), 2)
    simulator.side[:], simulator.quantity[:] = (1, -1), 1.0
    simulator.entry_price[:] = 50.0
    simulator.entry_t[:] = -1_000
    simulator.equity[:] = 10_000.0
    assert simulator.account_features().tolist() == [[1, 10, 2, 2], [-1, -10, 2, 2]]
    still = hand_history([QUIET] * 4, atr=0.0)
    simulator = Simulator(still, Rules(), RewardConfig(), 1)
    simulator.side[:], simulator.quantity[:], simulator.entry_price[:] = 1, 1.0, 50.0
    assert simulator.account_features()[0, 1] == 0.0  # no ATR, no unit


def test_wrong_arrays_are_refused() -> None:
    rng = np.random.default_rng(0)
    history = history_of(random_bars(rng, 60), random_sessions(rng, 60))
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    assert_wrong_arrays_are_refused(
        simulator.reset,
        accounts=np.array([1, 2]),
        t=np.array([30, 40]),
        equity=np.array([1e5, 2e5]),
        cost_factor=np.array([1.0, 2.0]),
    )
    assert_wrong_arrays_are_refused(lambda **state: simulator.set_state(state), **simulator.state())

    def stepped(index: IntArray, confidence: FloatArray) -> None:
        simulator.reset(np.arange(4), np.full(4, 30))
        simulator.step(Votes(index, confidence))

    votes = votes_of(LONG, SHORT, HOLD, LONG)
    assert_wrong_arrays_are_refused(stepped, index=votes.index, confidence=votes.confidence)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (1, 3), (4, 2), (3,), (4, 3, 1)])
def test_votes_of_other_accounts_are_refused_before_anything_moves(
    constant: bool, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    history = history_of(random_bars(rng, 60), random_sessions(rng, 60))
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    simulator.reset(np.arange(4), np.full(4, 30))
    before = simulator.state()
    index, confidence = np.zeros(shape, dtype=np.int64), np.full(shape, 0.9)
    votes = ConstantVotes(index, confidence, 0.9) if constant else Votes(index, confidence)
    with pytest.raises(ArrayError, match=r"index must be .* of shape \(4, 3\), found"):
        simulator.step(votes)
    for name, array in simulator.state().items():
        np.testing.assert_array_equal(array, before[name])

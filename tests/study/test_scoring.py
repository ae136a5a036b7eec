from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.decision.actions import EXECUTE
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.rl.training.validation import equal_size
from rllib_tactical.study import scoring
from rllib_tactical.study.scoring import (
    Performance,
    evaluated_without,
    oracle,
    preference_margins,
    scale_without,
    serving_votes,
    trade_votes,
    without,
)
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import oracle_votes, side_votes
from tests.market import SESSION_BARS, random_history


def test_a_neutral_vote_and_an_equal_size() -> None:
    votes = serving_votes(np.zeros((2, 3, 3)), 1.0)
    changed = without(votes, "entry")
    assert changed.index[:, 2].tolist() == [EXECUTE] * 2
    assert changed.confidence[:, 2].tolist() == [1.0] * 2
    np.testing.assert_array_equal(changed.index[:, :2], votes.index[:, :2])
    sizes = equal_size(Rules()).orders
    assert sizes.cap_execute == sizes.cap_aggressive == 1.0
    assert sizes.full_size_confidence < Rules().aggregation.execution_threshold


@pytest.mark.slow
def test_without_an_agent_the_scale_is_chosen_anew() -> None:
    """All three say what the oracle says with logits 3, 0, 0: at scale 1 a confidence of 0.909.

    Without fvg the other two score 0.67 x 0.909 = 0.61 of the 0.65 that a trade needs; at scale 0.7
    they have a confidence of 0.973 and score 0.652. Smaller scales trade the same.
    """
    market = make_market("momentum", 3, 4_000)
    history = market.history()
    start, stop = history.first_decision, len(history)
    part = slice(start, stop)
    votes = oracle_votes("momentum", history.features.raw[part], history.features.close[part])
    found = 3.0 * np.eye(3)[votes.index]
    config = TacticalConfig()
    assert scale_without(config, history, found, start, stop, "fvg") == 0.7
    before = evaluated_without(config, history, found, start, stop, {"fvg": 1.0})["fvg"]
    assert before["scale"] == 1.0
    assert before["figures"]["trades"] == 0
    anew = evaluated_without(config, history, found, start, stop, {"fvg": 0.7})["fvg"]
    assert anew["figures"]["trades"] > 1
    assert anew["figures"]["net"] > 0


def test_the_scale_without_an_agent_is_chosen_as_that_of_the_whole_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second scale earns 97% of the most with half of the trades."""
    played = iter([(10.0, 1.0), (97.0, 4.0), (100.0, 8.0)])

    def traded(*args: object) -> Performance:
        net, trades = next(played)
        return Performance(net, 1.0, trades, 1.0, 10, 0.5)

    monkeypatch.setattr(scoring, "trade_votes", traded)
    config = TacticalConfig(training=TrainingConfig(temperature_scales=(1.0, 0.5, 0.25)))
    history = random_history(400)
    assert scale_without(config, history, np.zeros((2, 3, 3)), 0, 2, "entry") == 0.5


def test_margins_are_by_how_much_the_oracles_side_is_preferred() -> None:
    """fvg has probabilities 0.6, 0.3, 0.1 from the oracle's side on, momentum the other way."""
    market = make_market("momentum", 3, 2_000)
    history = market.history()
    start, stop = history.first_decision, len(history)
    part = slice(start, stop)
    votes = oracle_votes("momentum", history.features.raw[part], history.features.close[part])
    side = 1 - votes.index[:, 0]
    assert {-1, 0, 1} == set(side.tolist())
    right = np.log([0.6, 0.3, 0.1])
    rising = np.stack([right, right[::-1], np.zeros(3)])
    found = np.where(side[:, None, None] > 0, rising, rising[:, ::-1])
    assert preference_margins(market, history, found, start, stop) == pytest.approx([0.5, -0.5])


def test_figures_are_per_session() -> None:
    """A flat account earns nothing, whatever the bars; the sessions are of the middle length."""
    history = random_history(1_170)
    start, stop = history.first_decision, len(history)
    nothing = trade_votes(
        history, side_votes(np.zeros(stop - start, dtype=int)), Rules(), start, stop
    )
    assert (nothing.net, nothing.trades, nothing.costs) == (0.0, 0.0, 0.0)
    always = side_votes(np.ones(stop - start, dtype=int))
    traded = trade_votes(history, always, Rules(), start, stop)
    result = run_backtest(history, always, equal_size(Rules()), start, stop)
    sessions = (stop - start) / SESSION_BARS
    assert traded.net == pytest.approx(result.net_pnl / sessions)
    assert traded.trades == pytest.approx(len(result.trades) / sessions)
    assert traded.costs == pytest.approx(result.trades["costs"].sum() / sessions)
    assert traded.document()["sessions"] == traded.sessions == 10


def test_the_oracle_earns_and_sessions_are_counted() -> None:
    market = make_market("momentum", 3, 4_000)
    history = market.history()
    found = oracle(market, history, history.first_decision, len(history))
    assert found.net > 1_000
    assert found.sessions == 12  # between the 13 closes after the warm-up
    assert 4 < found.trades < 14

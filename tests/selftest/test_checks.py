"""Every self-test passes on an honest harness and fails on one that lies in its way."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.table import FeatureTable, InputViews
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.selftest import checks as selftest
from rllib_tactical.selftest.checks import CHECKS, Subject
from rllib_tactical.selftest.perturb import history_of, mirrored_history
from rllib_tactical.synthetic.oracle import side_votes
from tests.market import INSTRUMENT, random_bars

pytestmark = pytest.mark.slow

NAMES = (
    "look-ahead",
    "recursive",
    "mirror, fills",
    "mirror, agents",
    "cost stress",
    "noise market",
    "permuted bars",
    "oracle wins",
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "MARKET_BARS", 4_000)
    monkeypatch.setattr(selftest, "PERMUTATIONS", 2)


@pytest.fixture(scope="module")
def subject(bundle: Bundle) -> Subject:
    return Subject.of(bundle, history_of(random_bars(2_200, seed=3), INSTRUMENT, 300), 0)


def with_table(history: MarketHistory, table: FeatureTable) -> MarketHistory:
    return dataclasses.replace(history, features=table, inputs=InputViews(table))


def clairvoyant(bundle: Bundle, history: MarketHistory) -> tuple[Votes, BacktestResult]:
    """Vote for where the next five bars go."""
    start, stop = history.first_decision, len(history)
    close = np.concatenate([history.bars.close, np.full(5, history.bars.close[-1])])
    side = np.sign(close[5:] - close[:-5])[start:stop].astype(np.int64)
    votes = side_votes(side)
    return votes, run_backtest(history, votes, bundle.rules, start, stop)


@pytest.mark.slow
def test_an_honest_harness_passes(subject: Subject) -> None:
    found = [check(subject) for check in CHECKS]
    assert [check.name for check in found] == list(NAMES)
    failed = [check for check in found if check.passed is False]
    assert [check.name for check in failed if check.name != "mirror, agents"] == []
    for check in found:
        assert check.figure
        assert check.rule or check.passed is None


def test_features_that_know_the_next_bar_are_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(bars: Bars, instrument: Instrument, bar_seconds: int) -> MarketHistory:
        history = history_of(bars, instrument, bar_seconds)
        raw = np.roll(history.features.raw, -1, axis=0)
        return with_table(history, dataclasses.replace(history.features, raw=raw))

    monkeypatch.setattr(selftest, "history_of", leaky)
    history = leaky(subject.history.bars, INSTRUMENT, 300)
    check = selftest.look_ahead(dataclasses.replace(subject, history=history))
    assert check.passed is False


def test_features_that_depend_on_the_first_bar_are_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drifting(bars: Bars, instrument: Instrument, bar_seconds: int) -> MarketHistory:
        history = history_of(bars, instrument, bar_seconds)
        raw = history.features.raw.copy()
        raw[:, 5] = np.clip(100.0 * (bars.close / bars.close[0] - 1.0), -10, 10)
        return with_table(history, dataclasses.replace(history.features, raw=raw))

    monkeypatch.setattr(selftest, "history_of", drifting)
    history = drifting(subject.history.bars, INSTRUMENT, 300)
    check = selftest.recursive(dataclasses.replace(subject, history=history))
    assert check.passed is False


def test_a_simulator_that_prefers_a_side_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = mirrored_history

    def crooked(history: MarketHistory) -> MarketHistory:
        turned = honest(history)
        return dataclasses.replace(turned, bars=history.bars)

    monkeypatch.setattr(selftest, "mirrored_history", crooked)
    assert selftest.mirrored_fills(subject).passed is False


class _Engine:
    """Agents that vote for the sign of the momentum, plus a preference for longs."""

    name = "fake"

    def __init__(self, preference: float) -> None:
        self.preference = preference

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        side = np.sign(inputs[:, -1, 5]) + self.preference
        return np.stack([np.stack([side, 0 * side - 0.5, -side], axis=1)] * 3, axis=1)


@pytest.mark.parametrize(("preference", "passed"), [(0.0, True), (5.0, False)])
def test_agents_that_prefer_a_side_are_found(
    subject: Subject, preference: float, passed: bool
) -> None:
    bundle: Any = types.SimpleNamespace(engine=lambda: _Engine(preference))
    found = selftest.mirrored_votes(dataclasses.replace(subject, bundle=bundle))
    assert found.passed is passed


def test_costs_that_are_not_charged_are_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(*arguments: object, cost_factor: float = 1.0) -> BacktestResult:
        return run_backtest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(selftest, "run_backtest", free)
    assert selftest.cost_stress(subject).passed is False


def test_a_policy_that_knows_the_future_earns_on_noise_and_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "_trade", clairvoyant)
    assert selftest.noise_market(subject).passed is False
    assert selftest.permuted_bars(subject).passed is False


def test_an_oracle_that_knows_nothing_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str, history: MarketHistory, start: int, stop: int, **_: object) -> Votes:
        rng = np.random.default_rng(0)
        return side_votes(np.where(rng.random(stop - start) < 0.05, 1, 0))

    monkeypatch.setattr(selftest, "policy_votes", nothing)
    assert selftest.oracle_wins(subject).passed is False


def test_a_policy_that_stays_out_is_neither_passed_nor_failed(subject: Subject) -> None:
    history = subject.history
    start, stop = history.first_decision, len(history)
    votes = hold_votes(stop - start)
    idle = dataclasses.replace(
        subject, votes=votes, result=run_backtest(history, votes, subject.bundle.rules, start, stop)
    )
    assert selftest.mirrored_fills(idle).passed is None
    assert selftest.cost_stress(idle).passed is None

"""Challengers answer every decision of the journal, and trade on paper beside the champion.

An answer is made by the service's own code of what the decision was made of. The accounts are
kept by the simulator, on the same bars and at the same costs: at the close of each bar on which the
service was asked, each trades its own votes; on any other bar, and where an operator's order or
doubtful data decided, none of them orders anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.metrics import daily_pnl, max_drawdown
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.growing import as_of_its_last_bar
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, WINDOW, FloatArray
from rllib_tactical.monitoring.challenge import (
    DEFAULT_RULES,
    Challenge,
    ChallengeRules,
    compare_sessions,
)
from serve.api.experiment import ChallengerAnswer, PaperAccount, SymbolExperiment
from serve.decision.decider import Decider
from serve.journal.record import DecisionRecord, circumstances_of, input_of


@dataclass(frozen=True, slots=True)
class Ballot:
    """The votes of a decision: index and confidence of each agent's."""

    index: tuple[int, ...]
    confidence: tuple[float, ...]

    @classmethod
    def of(cls, answered: dict[str, Any]) -> Ballot:
        """Return the votes of an answer, given as plain values."""
        votes = [answered["agent_breakdown"][agent] for agent in AGENTS]
        return cls(
            tuple(int(vote["index"]) for vote in votes),
            tuple(float(vote["confidence"]) for vote in votes),
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision by the time of its bar: when, on which synergy, and the champion's votes.

    ``ballot`` is None where votes did not decide.
    """

    at_s: float
    version: int
    synergy: tuple[int, int]
    ballot: Ballot | None


@dataclass(slots=True)
class Arm:
    """A challenger: since which version it is compared, and what it has answered.

    ``ballots``: by open time of the bar.
    """

    decider: Decider
    since: int
    since_s: float | None = None
    decisions: int = 0
    unanswered: int = 0
    agreed: int = 0
    ballots: dict[int, Ballot] = field(default_factory=dict)

    @property
    def bundle(self) -> Bundle:
        """What answers."""
        return self.decider.bundle


class Shadow:
    """The challengers of one symbol, as long as one bundle decides for it.

    Args:
        champion: the bundle that decides.
        arms: the challengers.
        rules: when a comparison has a result.
    """

    def __init__(
        self, champion: Bundle, arms: Sequence[Arm], rules: ChallengeRules = DEFAULT_RULES
    ) -> None:
        self.champion, self.arms, self._rules = champion, arms, rules
        self._asked: dict[int, Asked] = {}

    def take(
        self, record: DecisionRecord, bar_s: int | None, history: MarketHistory | None
    ) -> None:
        """Have each challenger answer a decision of the champion.

        Args:
            record: the decision; those of other bundles are passed over.
            bar_s: open time of the newest bar that was known, None for none.
            history: the bars, None while there are too few.
        """
        arms = [arm for arm in self.arms if record.state_version >= arm.since]
        answered = record.answered
        if not arms or answered["bundle_id"] != self.champion.bundle_id:
            return
        voted = record.control is Control.NONE and record.data_issue is None
        asked = Asked(
            record.at_s,
            record.state_version,
            (record.synergy_kind, record.synergy_direction),
            Ballot.of(answered) if voted else None,
        )
        newest = True
        if bar_s is not None:
            known = self._asked.get(bar_s)  # orders are written before holds of earlier times
            newest = known is None or known.at_s <= asked.at_s
            if newest:
                self._asked[bar_s] = asked
        matrix = None if record.matrix is not None else _window(record, bar_s, history)
        for arm in arms:
            arm.since_s = record.at_s if arm.since_s is None else min(arm.since_s, record.at_s)
            if record.matrix is None and matrix is None:
                arm.unanswered += 1
                continue
            request = input_of(record, matrix)
            made = arm.decider.decide_under(request, circumstances_of(record)).answer
            arm.decisions += 1
            arm.agreed += made.decision.action == answered["decision"]["action"]
            if bar_s is not None and newest:
                arm.ballots[bar_s] = Ballot.of(msgspec.to_builtins(made))

    def report(self, history: MarketHistory | None) -> SymbolExperiment:
        """Return what is known of the challengers, with their accounts on the bars of now."""
        now = None
        if history is not None:
            now = as_of_its_last_bar(history, self.champion.bar_seconds)
        return SymbolExperiment(
            champion=self.champion.bundle_id,
            challengers=[self._answer(arm, now) for arm in self.arms],
        )

    def _answer(self, arm: Arm, history: MarketHistory | None) -> ChallengerAnswer:
        both = None if history is None else self._accounts(arm, history)
        returns = (np.zeros(0), np.zeros(0))
        if both is not None:
            returns = whole_sessions(both[0]), whole_sessions(both[1])
        found: Challenge = compare_sessions(
            *returns,
            self.champion.rules.risk.session_drawdown_limit,
            self._rules,
            max(1, len(self.arms)),
        )
        return ChallengerAnswer(
            bundle_id=arm.bundle.bundle_id,
            since_s=arm.since_s,
            decisions=arm.decisions,
            unanswered=arm.unanswered,
            agreement=arm.agreed / arm.decisions if arm.decisions else None,
            account=None if both is None else paper_account(both[1]),
            champion_account=None if both is None else paper_account(both[0]),
            sessions=found.sessions,
            mean=found.mean,
            low=found.low,
            high=found.high,
            confidence=found.confidence,
            verdict=found.verdict.value,
            words=found.words,
        )

    def _accounts(
        self, arm: Arm, history: MarketHistory
    ) -> tuple[BacktestResult, BacktestResult] | None:
        """Return the champion's account and the challenger's, from the same bar on."""
        time_s = history.bars.timestamp_s
        asked = {t: each for t, each in self._asked.items() if each.version >= arm.since}
        bars = [int(np.searchsorted(time_s, t)) for t in sorted(asked)]
        bars = [bar for bar in bars if bar >= history.first_decision]
        if not bars or len(history) - bars[0] < 2:
            return None
        start, synergy = bars[0], SynergyTrack.none(len(history))
        kind, direction = synergy.kind.copy(), synergy.direction.copy()
        for bar in bars:
            kind[bar], direction[bar] = asked[int(time_s[bar])].synergy
        track = SynergyTrack(kind, direction, (kind > 0).astype(np.float64))
        own = {t: each.ballot for t, each in asked.items() if each.ballot is not None}
        # a bar that the challenger could not answer is one on which neither trades
        voted = {t: ballot for t, ballot in own.items() if t in arm.ballots}
        return (
            _trade(history, track, start, voted, self.champion, self.champion),
            _trade(
                history, track, start, {t: arm.ballots[t] for t in voted}, arm.bundle, self.champion
            ),
        )


def whole_sessions(result: BacktestResult) -> FloatArray:
    """Return the returns (S,) of the sessions that have ended."""
    returns = daily_pnl(result)["return"].to_numpy(np.float64)
    return returns if result.history.sessions.elapsed[-1] >= 1.0 else returns[:-1]


def paper_account(result: BacktestResult) -> PaperAccount:
    """Return an account as it is shown."""
    equity = result.equity["equity"].to_numpy()
    return PaperAccount(
        equity=float(equity[-1]),
        net_pnl=result.net_pnl,
        max_drawdown=float(max_drawdown(equity)),
        trades=len(result.trades),
        position=float(result.equity["position"].iloc[-1]),
    )


def _trade(
    history: MarketHistory,
    synergy: SynergyTrack,
    start: int,
    ballots: dict[int, Ballot],
    bundle: Bundle,
    champion: Bundle,
) -> BacktestResult:
    """Return the account of a bundle that trades ballots at the champion's costs."""
    instrument = replace(champion.instrument, base_quantity=bundle.instrument.base_quantity)
    votes = hold_votes(len(history) - start)
    for t, ballot in ballots.items():
        row = int(np.searchsorted(history.bars.timestamp_s, t)) - start
        if row >= 0:
            votes.index[row], votes.confidence[row] = ballot.index, ballot.confidence
    own = replace(history, synergy=synergy, instrument=instrument)
    return run_backtest(own, votes, bundle.rules, start, len(history))


def _window(
    record: DecisionRecord, bar_s: int | None, history: MarketHistory | None
) -> FloatArray | None:
    """Return the matrix of a decision on bars, None where the bars say something else now."""
    if bar_s is None or history is None:
        return None
    bar, parts = int(np.searchsorted(history.bars.timestamp_s, bar_s)), record.parts
    if bar < WINDOW - 1:
        return None
    found = float(history.bars.close[bar]), float(history.features.atr[bar])
    if found != (parts.price, parts.atr):
        return None
    return np.ascontiguousarray(history.features.raw[bar - WINDOW + 1 : bar + 1])

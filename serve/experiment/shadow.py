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
    """A decision by the time of its bar: when, and on which synergy.

    ``voted``: votes decided, not an operator or doubtful data.
    """

    at_s: float
    version: int
    synergy: tuple[int, int]
    voted: bool


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
    """The challengers of one symbol, as long as one bundle is its champion.

    Args:
        champion: the bundle that decides, but for the turns of challengers.
        arms: the challengers.
        rules: when a comparison has a result.
    """

    def __init__(
        self, champion: Decider, arms: Sequence[Arm], rules: ChallengeRules = DEFAULT_RULES
    ) -> None:
        self.champion, self._decider = champion.bundle, champion
        self.arms, self._rules = arms, rules
        self._asked: dict[int, Asked] = {}
        self._ballots: dict[int, Ballot] = {}  # of the champion

    def take(
        self, record: DecisionRecord, bar_s: int | None, history: MarketHistory | None
    ) -> None:
        """Have each bundle answer a decision that it did not make.

        Args:
            record: the decision; those of bundles that are not compared are passed over.
            bar_s: open time of the newest bar that was known, None for none.
            history: the bars, None while there are too few.
        """
        arms = [arm for arm in self.arms if record.state_version >= arm.since]
        answered = record.answered
        made = {str(answered["bundle_id"]): answered}
        compared = {self.champion.bundle_id, *(arm.bundle.bundle_id for arm in arms)}
        if not arms or not made.keys() <= compared:
            return
        newest = bar_s is not None and self._note(record, bar_s, arms)
        matrix = None if record.matrix is not None else _window(record, bar_s, history)
        known = record.matrix is not None or matrix is not None
        if known:
            request, given = input_of(record, matrix), circumstances_of(record)
            for decider in (self._decider, *(arm.decider for arm in arms)):
                if decider.bundle.bundle_id not in made:
                    answer = decider.decide_under(request, given).answer
                    made[decider.bundle.bundle_id] = msgspec.to_builtins(answer)
        for arm in arms:
            arm.since_s = record.at_s if arm.since_s is None else min(arm.since_s, record.at_s)
            if not known:
                arm.unanswered += 1
                continue
            ours, theirs = made[arm.bundle.bundle_id], made[self.champion.bundle_id]
            arm.decisions += 1
            arm.agreed += ours["decision"]["action"] == theirs["decision"]["action"]
            if newest and bar_s is not None:
                arm.ballots[bar_s] = Ballot.of(ours)
                self._ballots[bar_s] = Ballot.of(theirs)

    def _note(self, record: DecisionRecord, bar_s: int, arms: Sequence[Arm]) -> bool:
        """Return whether a decision is the newest on its bar; forget the votes of an older one."""
        before = self._asked.get(bar_s)  # orders are written before holds of earlier times
        if before is not None and before.at_s > record.at_s:
            return False
        voted = record.control is Control.NONE and record.data_issue is None
        synergy = record.synergy_kind, record.synergy_direction
        self._asked[bar_s] = Asked(record.at_s, record.state_version, synergy, voted)
        for ballots in (self._ballots, *(arm.ballots for arm in arms)):
            ballots.pop(bar_s, None)
        return True

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
        # where the challenger could not answer neither of them trades
        both = [t for t, each in asked.items() if each.voted and t in arm.ballots]
        theirs, ours = ({t: of[t] for t in both} for of in (self._ballots, arm.ballots))
        return (
            _trade(history, track, start, theirs, self.champion, self.champion),
            _trade(history, track, start, ours, arm.bundle, self.champion),
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

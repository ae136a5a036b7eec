"""From a paper session to the tables of a backtest, so that one report fits both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.backtest.engine import hold_votes, result_of_log
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.tables import Log
from rllib_tactical.domain.decision.actions import ACTION_NAMES
from rllib_tactical.domain.decision.missing_bars import holds_after_gap
from rllib_tactical.domain.decision.pipeline import MarketSnapshot, Rules, decide
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.domain.types import AGENTS, FloatArray, IntArray, Reason
from rllib_tactical.errors import DataError
from rllib_tactical.live.paper import PaperResult
from serve.api.responses import DecideAnswer

_SIGNS = {name: sign for sign, name in ACTION_NAMES.items()}
_REASONS = {reason.code: int(reason) for reason in Reason}


def session_result(paper: PaperResult, rules: Rules, rewards: RewardConfig) -> BacktestResult:
    """Return what a paper session did as a backtest has it.

    Decisions are those that the service answered, fills and equity those of the paper broker.

    Args:
        paper: the session.
        rules: of the bundle that decided.
        rewards: those that the session recorded.

    Raises:
        DataError: the session has no decision with a fill after it.
    """
    if not paper.answers:
        raise DataError("a session needs a decision and a bar after it, found none")
    history, answers = paper.history, list(paper.answers.values())
    bars = np.array(list(paper.answers), dtype=np.int64)
    start, stop = int(bars[0]), int(bars[-1]) + 2
    votes = _votes(answers)
    log: Log = {
        name: np.concatenate([report[name] for report in paper.reports])
        for name in paper.reports[0]
    }
    log |= _decided(answers) | {"requested": _requested(history, bars, votes, rules)}
    halts = (log["reason"] == int(Reason.SESSION_HALTED)) & log["closes"]
    # for the broker a halt was an order like any other
    log["exit_reason"] = np.where(
        halts & (log["exit_reason"] == int(ExitReason.OPPOSITE)),
        int(ExitReason.HALT),
        log["exit_reason"],
    )
    nothing = hold_votes(1)
    whole = Votes(
        np.concatenate([votes.index, nothing.index]),
        np.concatenate([votes.confidence, nothing.confidence]),
    )
    return result_of_log(history, whole, rules, rewards, start, stop, log)


def _votes(answers: list[DecideAnswer]) -> Votes:
    cast = [[getattr(answer.agent_breakdown, agent) for agent in AGENTS] for answer in answers]
    index = np.array([[vote.index for vote in row] for row in cast], dtype=np.int64)
    return Votes(index, np.array([[vote.confidence for vote in row] for row in cast]))


def _decided(answers: list[DecideAnswer]) -> dict[str, NDArray[Any]]:
    """Return the columns of the decisions, as ``step_report`` names them."""
    parts = [answer.decision for answer in answers]
    commands = [part.execution_command for part in parts]
    executed = [part.execute for part in parts]
    return {
        "action": np.array([_SIGNS[part.action] for part in parts], dtype=np.int64),
        "execute": np.array(executed, dtype=np.bool_),
        "closes": np.array([c is not None and c.stop_loss is None for c in commands]),
        "quantity": _prices([None if c is None else c.quantity for c in commands]),
        "stop": _prices([None if c is None else c.stop_loss for c in commands]),
        "target": _prices([None if c is None else c.take_profit for c in commands]),
        "reason": np.array([_REASONS[part.reason] for part in parts], dtype=np.int64),
        "winner": np.array([_SIGNS[part.side] for part in parts], dtype=np.int64),
        "score": np.array([part.confidence for part in parts]),
        "scores": np.array([[p.scores.long, p.scores.short, p.scores.hold] for p in parts]),
    }


def _prices(values: list[float | None]) -> FloatArray:
    return np.array([value or 0.0 for value in values])


def _requested(history: MarketHistory, bars: IntArray, votes: Votes, rules: Rules) -> FloatArray:
    """Return the lots (K,) that the votes asked for, before the limits: no answer has them."""
    count = len(bars)
    holds = holds_after_gap(history.sessions.since_gap[bars], rules.risk.hold_bars_after_gap)
    market = MarketSnapshot(
        price=history.bars.close[bars],
        atr=history.features.atr[bars],
        synergy_kind=history.synergy.kind[bars],
        synergy_direction=history.synergy.direction[bars],
        after_gap=holds,
    )
    equity = np.full(count, rules.risk.initial_equity)
    nobody = AccountView(
        equity=equity,
        session_peak=equity,
        position_side=np.zeros(count, dtype=np.int64),
        position_quantity=np.zeros(count),
        halted=np.zeros(count, dtype=np.bool_),
        tradable=np.ones(count, dtype=np.bool_),
    )
    return decide(votes, market, nobody, history.instrument, rules).requested

"""Run votes through the simulator: one account, thousands of bars per second.

All sessions, and parts of long ones, are stepped side by side as accounts of one batched
``Simulator``, and again until each begins exactly as its predecessor ended (``lanes``). The result
is then, bit for bit, that of one account stepped through the bars in order; no rule of trading is
written down a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.backtest.lanes import Lanes
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.tables import Log, decision_table, equity_table
from rllib_tactical.backtest.trades import trade_table
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import LogitsEngine, logits_of
from rllib_tactical.domain.decision.actions import WAIT
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import session_drawdown
from rllib_tactical.domain.decision.votes import Votes, greedy_votes, sample_votes, softmax
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.domain.types import NUM_ACTIONS, NUM_AGENTS, FloatArray, IntArray
from rllib_tactical.errors import ConfigError, DataError

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

PROGRESS_BARS = 2048  # between two reports of progress; a multiple of the engine's batch

_STAY_OUT = 1  # index of "hold" and "neutral"


def policy_probabilities(
    engine: LogitsEngine,
    history: MarketHistory,
    t: IntArray,
    temperature_scale: float,
    progress: Progress | None = None,
) -> FloatArray:
    """Return each agent's probabilities (K, 3 agents, 3 actions) at the close of bars ``t`` (K,).

    Raises:
        BundleError: the actors return values that are not finite.
    """
    out = np.empty((len(t), NUM_AGENTS, NUM_ACTIONS))
    for first in range(0, len(t), PROGRESS_BARS):
        part = t[first : first + PROGRESS_BARS]
        logits = logits_of(engine, history.inputs, part)
        out[first : first + len(part)] = softmax(logits, temperature_scale)
        if progress is not None:
            progress(first + len(part), len(t))
    return out


def bundle_votes(
    bundle: Bundle,
    history: MarketHistory,
    t: IntArray,
    temperature_scale: float | None = None,
    *,
    mode: str = "greedy",
    seed: int | None = None,
    progress: Progress | None = None,
) -> Votes:
    """Return a bundle's votes at the close of bars ``t`` (K,).

    Args:
        bundle: the policy.
        history: the market.
        t: decision bars, each past the first full window.
        temperature_scale: instead of the bundle's own.
        mode: ``greedy`` (the most probable action) or ``sample`` (drawn with ``seed``).
        seed: of the draws.
        progress: told about finished bars.

    Raises:
        BundleError: the actors return values that are not finite.
        ConfigError: an unknown mode.
    """
    if mode not in ("greedy", "sample"):
        raise ConfigError(f"mode must be greedy or sample, found {mode!r}")
    scale = bundle.temperature_scale if temperature_scale is None else temperature_scale
    probabilities = policy_probabilities(bundle.engine(), history, t, scale, progress)
    if mode == "greedy":
        return greedy_votes(probabilities)
    return sample_votes(probabilities, np.random.default_rng(seed).random((len(t), NUM_AGENTS)))


def hold_votes(count: int) -> Votes:
    """Return ``count`` votes of three agents that stay out."""
    index = np.full((count, NUM_AGENTS), _STAY_OUT, dtype=np.int64)
    index[:, 2] = WAIT
    return Votes(index, np.ones((count, NUM_AGENTS)))


def run_backtest(
    history: MarketHistory,
    votes: Votes,
    rules: Rules,
    start: int,
    stop: int,
    rewards: RewardConfig | None = None,
    cost_factor: float = 1.0,
) -> BacktestResult:
    """Trade the votes with one account that starts flat at the close of bar ``start``.

    Decisions are made at the close of bars start .. stop - 2 and the last fill may happen on bar
    stop - 1, so nothing beyond ``stop`` is touched.

    Args:
        history: the market.
        votes: (K, 3) votes of the K = stop - start bars; the last one is not acted upon.
        rules: aggregation, orders and risk.
        start: first decision bar, at least ``history.first_decision``.
        stop: one past the last bar, at most ``len(history)``.
        rewards: weights of the rewards whose parts are recorded; the defaults when None.
        cost_factor: multiplies what fills cost; orders are sized for the instrument's own costs.

    Raises:
        DataError: the range does not fit the market history or the votes do not fit the range.
    """
    count = stop - start
    if not (history.first_decision <= start and count >= 2 and stop <= len(history)):
        raise DataError(
            f"a backtest needs at least two bars between bar {history.first_decision} and bar "
            f"{len(history)}, found {start} to {stop}"
        )
    if votes.index.shape != (count, NUM_AGENTS) or votes.confidence.shape != votes.index.shape:
        raise DataError(
            f"votes must have shape ({count}, {NUM_AGENTS}) for the bars {start} to {stop}, "
            f"found {votes.index.shape}"
        )
    rewards = RewardConfig() if rewards is None else rewards
    log, passes = _simulate(history, votes, rules, rewards, start, stop, cost_factor)
    return result_of_log(history, votes, rules, rewards, start, stop, log, passes)


def result_of_log(
    history: MarketHistory,
    votes: Votes,
    rules: Rules,
    rewards: RewardConfig,
    start: int,
    stop: int,
    log: Log,
    passes: int = 1,
) -> BacktestResult:
    """Return the tables of what an account reported at the bars start .. stop - 2.

    ``votes`` are one for each of the bars start .. stop - 1.
    """
    equity = equity_table(history, rules, start, stop, log)
    decisions = decision_table(history, votes, start, log)
    return BacktestResult(
        history=history,
        rules=rules,
        rewards=rewards,
        votes=votes,
        start=start,
        stop=stop,
        equity=equity,
        decisions=decisions,
        trades=trade_table(history, start, log, equity, decisions),
        base=log["base"],
        bonus=log["bonus"],
        passes=passes,
    )


def _simulate(
    history: MarketHistory,
    votes: Votes,
    rules: Rules,
    rewards: RewardConfig,
    start: int,
    stop: int,
    cost_factor: float,
) -> tuple[Log, int]:
    """Return what every bar's step reported, and how many passes over the lanes it took."""
    lanes = Lanes(history, rules, rewards, start, stop, cost_factor)
    log: Log = {}
    while len(todo := lanes.next()):  # each pass settles at least the first unsettled lane
        _run_lanes(votes, start, lanes, todo, log)
    return log, lanes.passes


def _run_lanes(votes: Votes, start: int, lanes: Lanes, todo: IntArray, log: Log) -> None:
    """Step the lanes ``todo`` (K,) side by side and record their steps in ``log`` by bar."""
    simulator, end = lanes.simulator(todo), lanes.stop[todo]
    everyone, nothing, spare = np.arange(len(todo)), hold_votes(1), len(votes.index)
    index = np.concatenate([votes.index, nothing.index])
    confidence = np.concatenate([votes.confidence, nothing.confidence])
    active = np.ones(len(todo), dtype=np.bool_)
    steps = len(votes.index) - 1
    while active.any():
        row = np.where(active, simulator.t - start, spare)
        step = simulator.step(Votes(index[row], confidence[row]))
        report = step_report(step, simulator)
        if not log:
            log.update({k: np.zeros((steps, *v.shape[1:]), v.dtype) for k, v in report.items()})
        row = row[active]
        for name, values in report.items():
            log[name][row] = values[active]
        done = active & (simulator.t == end)
        if done.any():
            lanes.finish(simulator, todo, done)
            active &= ~done
        parked = everyone[~active]
        if len(parked):  # out of the way: flat, at the first bar, until the longest lane ends
            simulator.reset(parked, np.zeros(len(parked), dtype=np.int64))


def step_report(step: Step, simulator: Simulator) -> dict[str, NDArray[Any]]:
    """Return what is kept of one step: arrays with the account as first axis."""
    decision = step.decision
    return {
        "action": decision.action,
        "execute": decision.execute,
        "closes": decision.closes,
        "quantity": decision.quantity,
        "requested": decision.requested,
        "stop": decision.stop,
        "target": decision.target,
        "reason": decision.reason,
        "winner": decision.vote.side,
        "score": decision.vote.score,
        "scores": decision.vote.scores,
        "entered": step.entered,
        "entry_price": step.entry_price,
        "exited": step.exited,
        "exit_price": step.exit_price,
        "exit_reason": step.exit_reason,
        "trade_quantity": step.quantity,
        "trade_side": step.trade_side,
        "trade_entry_t": step.trade_entry_t,
        "trade_entry_price": step.trade_entry_price,
        "trade_pnl": step.trade_pnl,
        "trade_cost": step.trade_cost,
        "base": step.base,
        "bonus": step.bonus,
        "equity": simulator.equity,
        "drawdown": session_drawdown(simulator.equity, simulator.session_peak),
        "side": simulator.side,
        "held": simulator.quantity,
        "open_cost": simulator.open_cost,
    }

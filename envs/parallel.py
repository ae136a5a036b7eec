"""The market replay as a PettingZoo ParallelEnv: one account, three agents that act together."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from envs.market import ACTION_SPACE, OBSERVATION_SPACE, MarketSpec
from rllib_tactical.domain.replay import Replay
from rllib_tactical.domain.simulate import ExitReason, Step
from rllib_tactical.domain.types import AGENTS, Float32Array, Reason
from rllib_tactical.domain.votes import Votes, constant_votes

Observations = dict[str, Float32Array]
Infos = dict[str, dict[str, Any]]

ACCOUNT_STATE = "account_features"
"""Key in infos of the critic's account features (4,) float32."""

BAR = "bar"
"""Key in infos of the bar's running number over all instruments; ``t`` is the one on its tape."""


class TacticalParallelEnv(ParallelEnv[str, Float32Array, int]):
    """One replayed account as a PettingZoo environment; each episode draws its instrument.

    Observation: network input Box(-1, 1, (60, 7)) float32, the same for every agent. Action:
    Discrete(3), the vote's index. Infos carry the decision, the account and the reward's parts.
    """

    metadata = {"name": "tactical_market_v0", "render_modes": []}  # noqa: RUF012 - PettingZoo's form
    render_mode = None

    def __init__(self, spec: MarketSpec, seed: int | None = None) -> None:
        self._spec = spec
        self._offsets = spec.tapes.offsets
        self._replays: list[Replay] = spec.replays(len(spec.parts), seed)
        self._rng = np.random.default_rng(seed)
        self._choose()
        self.possible_agents = list(AGENTS)
        self.agents: list[str] = []
        # a space draws its own samples, so every agent of every environment has its own
        self._observation_spaces = {agent: deepcopy(OBSERVATION_SPACE) for agent in AGENTS}
        self._action_spaces = {agent: deepcopy(ACTION_SPACE) for agent in AGENTS}

    def observation_space(self, agent: str) -> spaces.Box:
        """Return the network input's space."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete[np.int64]:
        """Return the vote's space."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start an episode at a random bar of the split; a seed makes it repeatable."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._choose()
        self._replay.reset(seed)
        self.agents = list(AGENTS)
        return self._observations(), {agent: self._account() for agent in AGENTS}

    def step(
        self, actions: dict[str, int], confidences: dict[str, float] | None = None
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Vote on the current bar and move to the next one.

        Args:
            actions: the vote's index of every agent.
            confidences: probability of each chosen action, for the full rule; without them votes
                count with the constant training confidence.
        """
        index = np.array([[actions[agent] for agent in AGENTS]], dtype=np.int64)
        if confidences is None:
            votes = constant_votes(index, self._spec.train_confidence)
        else:
            votes = Votes(index, np.array([[confidences[agent] for agent in AGENTS]]))
        moved = self._replay.step(votes)
        terminated, truncated = bool(moved.terminated[0]), bool(moved.truncated[0])
        shared = self._account() | _step_info(moved.step)
        infos = {
            agent: shared | {"reward_bonus": float(moved.step.bonus[0, i])}
            for i, agent in enumerate(AGENTS)
        }
        if terminated or truncated:
            self.agents = []
        return (
            self._observations(),
            {agent: float(moved.step.rewards[0, i]) for i, agent in enumerate(AGENTS)},
            dict.fromkeys(AGENTS, terminated),
            dict.fromkeys(AGENTS, truncated),
            infos,
        )

    def render(self) -> None:
        """Nothing is drawn; the backtest report has the plots."""

    def close(self) -> None:
        """Nothing is held open."""

    def _choose(self) -> None:
        self._part = int(self._rng.integers(len(self._replays)))
        self._replay = self._replays[self._part]

    def _observations(self) -> Observations:
        matrix = self._replay.observe()[0]
        return {agent: matrix.copy() for agent in AGENTS}

    def _account(self) -> dict[str, Any]:
        simulator = self._replay.simulator
        return {
            "symbol": simulator.tape.instrument.symbol,
            "t": int(simulator.t[0]),
            BAR: int(self._offsets[self._part] + simulator.t[0]),
            ACCOUNT_STATE: simulator.account_features()[0],
            "equity": float(simulator.equity[0]),
            "session_peak": float(simulator.session_peak[0]),
            "position_side": int(simulator.side[0]),
            "position_quantity": float(simulator.quantity[0]),
            "halted": bool(simulator.halted[0]),
        }


def _step_info(step: Step) -> dict[str, Any]:
    decision = step.decision
    return {
        "action": int(decision.action[0]),
        "execute": bool(decision.execute[0]),
        "reason": Reason(int(decision.reason[0])).code,
        "confidence": float(decision.confidence[0]),
        "quantity": float(decision.quantity[0]),
        "stop": float(decision.stop[0]),
        "target": float(decision.target[0]),
        "entered": bool(step.entered[0]),
        "exited": bool(step.exited[0]),
        "exit_reason": ExitReason(int(step.exit_reason[0])).name.lower(),
        "trade_pnl": float(step.trade_pnl[0]),
        "equity_change": float(step.equity_change[0]),
        "reward_base": float(step.base[0]),
    }

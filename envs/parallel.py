"""The market replay as a PettingZoo ParallelEnv: one account, three agents that act together."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from envs.market import MarketSpec
from envs.spaces import ACTION_SPACE, OBSERVATION_SPACE, STATE_SPACE
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.episodes import Replay
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import AGENTS, Float32Array
from rllib_tactical.errors import ConfigError, UsageError

Observations = dict[str, Float32Array]
Infos = dict[str, dict[str, Any]]

ACCOUNT_STATE = "account_features"
"""Key in infos of the critic's account features (4,) float32."""

BAR = "bar"
"""Key in infos of the bar's running number over all instruments; ``t`` counts on its own."""


NO_REASON: Final = -1
"""``reason`` in infos after a reset: nothing was decided yet. Else the number of a ``Reason``."""

_NO_STEP: Final[dict[str, Any]] = {
    "action": 0,
    "execute": False,
    "reason": NO_REASON,
    "confidence": 0.0,
    "quantity": 0.0,
    "stop": 0.0,
    "target": 0.0,
    "entered": False,
    "exited": False,
    "exit_reason": int(ExitReason.NONE),
    "trade_pnl": 0.0,
    "equity_change": 0.0,
    "reward_base": 0.0,
    "reward_bonus": 0.0,
}


class TacticalParallelEnv(ParallelEnv[str, Float32Array, int]):
    """One replayed account as a PettingZoo environment; each episode draws its instrument.

    Observation: network input Box(-1, 1, (60, 7)) float32, the same for every agent. Action:
    Discrete(3), the vote's index. Infos are numbers, with the same keys after a reset and after a
    step: the decision, the account and the reward's parts; ``stop`` and ``target`` are 0 when the
    vote asks for no order, ``instrument`` is a place in ``symbols``.

    A copy, by pickle too, stands where the original stands and draws other episodes from its next
    reset on: many copies of one environment replay different bars. A seed makes any of them repeat.
    """

    metadata = {"name": "tactical_market_v0", "render_modes": []}  # noqa: RUF012 - PettingZoo's form
    render_mode = None

    def __init__(self, spec: MarketSpec, seed: int | None = None) -> None:
        if spec.episodes.positions is not None:
            raise ConfigError(
                "episodes.positions must be None here: an environment has one account, which "
                "shares no place with others"
            )
        self._spec = spec
        self._offsets = spec.histories.offsets.tolist()
        self._replays: list[Replay] = spec.replays(len(spec.parts), seed)
        self._rng = np.random.default_rng(seed)
        self._copies = np.random.SeedSequence(seed)
        self._is_copy = self._has_begun = False
        self._choose()
        self.symbols = tuple(part.history.instrument.symbol for part in spec.parts)
        self.possible_agents = list(AGENTS)
        self.agents: list[str] = []
        # a space draws its own samples, so every agent of every environment has its own
        self.observation_spaces = {agent: deepcopy(OBSERVATION_SPACE) for agent in AGENTS}
        self.action_spaces = {agent: deepcopy(ACTION_SPACE) for agent in AGENTS}
        self.state_space = deepcopy(STATE_SPACE)

    def observation_space(self, agent: str) -> spaces.Box:
        """Return the network input's space."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete[np.int64]:
        """Return the vote's space."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start an episode at a random bar of the split; a seed makes it and later ones repeat."""
        if seed is None and self._is_copy:
            seed = int(self._copies.generate_state(1)[0])
        self._is_copy, self._has_begun = False, True
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            for replay in self._replays:
                replay.reset(seed)
        self._choose()
        self._replay.reset(seed)
        self.agents = list(AGENTS)
        return self._observations(), {agent: self._account() | _NO_STEP for agent in AGENTS}

    def step(
        self, actions: dict[str, int], confidences: dict[str, float] | None = None
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Vote on the current bar and move to the next one.

        Args:
            actions: the vote's index of every agent.
            confidences: probability of each chosen action, for the serving rule; without them votes
                count with the constant training confidence.

        Raises:
            UsageError: no episode is under way, or not every agent has one action.
            ArrayError: an action is not an integer from 0 to 2.
        """
        if not self.agents:
            raise UsageError("step needs an episode: call reset first, and after an episode's end")
        if set(actions) != set(AGENTS):
            raise UsageError(f"step needs one action of each of {AGENTS}, found {list(actions)}")
        index = np.array([[actions[agent] for agent in AGENTS]])
        if confidences is None:
            votes: Votes = constant_votes(index, self._spec.train_confidence)
        else:
            votes = Votes(index, np.array([[confidences[agent] for agent in AGENTS]]))
        moved = self._replay.step(votes)
        terminated, truncated = moved.terminated.item(), moved.truncated.item()
        shared = self._account() | _step_info(moved.step)
        infos = {
            agent: shared | {"reward_bonus": bonus}
            for agent, bonus in zip(AGENTS, moved.step.bonus[0].tolist(), strict=True)
        }
        if terminated or truncated:
            self.agents = []
        return (
            self._observations(),
            dict(zip(AGENTS, moved.step.rewards[0].tolist(), strict=True)),
            dict.fromkeys(AGENTS, terminated),
            dict.fromkeys(AGENTS, truncated),
            infos,
        )

    def state(self) -> Float32Array:
        """Return the global state (433,) float32: the matrix by rows, and the critic's 13 numbers.

        After an episode's end it is the last state, as the observations are.

        Raises:
            UsageError: no episode has begun.
        """
        if not self._has_begun:
            raise UsageError("state needs an episode: call reset first")
        simulator = self._replay.simulator
        market = simulator.history.market_features(simulator.t)
        parts = (self._replay.observe()[0].ravel(), simulator.account_features()[0], market[0])
        return np.concatenate(parts)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy, whose episodes are its own."""
        return self.__dict__ | {"_copies": self._copies.spawn(1)[0], "_is_copy": True}

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
        t = simulator.t.item()
        return {
            "instrument": self._part,
            "t": t,
            BAR: self._offsets[self._part] + t,
            ACCOUNT_STATE: simulator.account_features()[0],
            "equity": simulator.equity.item(),
            "session_peak": simulator.session_peak.item(),
            "position_side": simulator.side.item(),
            "position_quantity": simulator.quantity.item(),
            "halted": simulator.halted.item(),
        }


def _step_info(step: Step) -> dict[str, Any]:
    decision = step.decision
    return {
        "action": decision.action.item(),
        "execute": decision.execute.item(),
        "reason": decision.reason.item(),
        "confidence": decision.confidence.item(),
        "quantity": decision.quantity.item(),
        "stop": decision.stop.item(),
        "target": decision.target.item(),
        "entered": step.entered.item(),
        "exited": step.exited.item(),
        "exit_reason": step.exit_reason.item(),
        "trade_pnl": step.trade_pnl.item(),
        "equity_change": step.equity_change.item(),
        "reward_base": step.base.item(),
    }

"""From episodes to minibatches: centralized advantages, and matrices shared by all modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from envs.parallel import ACCOUNT_STATE, BAR
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES
from rllib_tactical.domain.types import AGENTS, NUM_AGENTS, Float32Array, FloatArray, IntArray
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.algorithm.credit import decisive_votes
from rllib_tactical.rl.algorithm.gae import generalized_advantages
from rllib_tactical.rl.names import CRITIC, STATE
from rllib_tactical.rl.sampling.episode import JointEpisode
from rllib_tactical.rl.sampling.market_ref import MarketHandle

VALUE_ROWS = 4_096
"""Rows of one pass of the critic over a batch's states: bounds memory, changes no value."""

POSITION_SIDE = ACCOUNT_FEATURES.index("position_side")
DRAWDOWN_USED = ACCOUNT_FEATURES.index("session_drawdown_used")

Batch = dict[str, dict[str, Tensor]]


class CentralizedBatch(ConnectorV2):
    """Learner connector: episodes to one batch per actor and one for the critic.

    A row is a bar with the K accounts that stood on it, so an actor sees each matrix once for K
    actions. Matrices are gathered here from the feature table, and all modules share them. Values
    come from the critic; advantages are normalized per agent and value targets by their running
    moments, both over the shards of all learners.
    """

    takes_logp: ClassVar[bool] = True
    """Whether the log probabilities of sampled votes are learnt from."""

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        market: MarketHandle,
        gamma: float,
        lambda_: float,
        distributed: bool = False,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self._spec = market.open()
        self._histories = self._spec.histories
        self._gamma, self._lambda, self._distributed = gamma, lambda_, distributed

    def __call__(
        self, *, rl_module: Any, batch: Batch, episodes: list[Any], **kwargs: Any
    ) -> Batch:
        """Return ``{module id: {column: tensor}}``, every column with R rows."""
        parts = [part for part in map(as_joint_episode, episodes) if len(part)]
        lengths = np.array([len(part) for part in parts])
        t = np.concatenate([part.t for part in parts]).astype(np.int64)
        account = np.concatenate([part.account for part in parts])
        critic = rl_module[CRITIC].unwrapped()
        device = critic.moment1.device
        inputs = torch.from_numpy(self._histories.gather(t)).to(device)
        state = self._state(t, account, device)
        advantages, targets = generalized_advantages(
            values_of(critic, inputs, state),
            np.concatenate([part.rewards for part in parts]).astype(np.float64),
            np.concatenate([part.terminated for part in parts])[..., None],
            lengths,
            self._gamma,
            self.trace(parts),
        )
        step = np.ones(len(t), dtype=np.bool_)
        step[np.cumsum(lengths + 1) - 1] = False  # the state after a segment is no step
        is_step = torch.from_numpy(step).to(device)
        inputs = inputs[is_step]
        batch |= self.of_actors(rl_module, parts, advantages, inputs)
        moments = self._moments(targets, device)
        if not np.isfinite(moments).all():  # the running moments would never recover
            raise TrainingError("rewards or values are not finite")
        critic.track_targets(*moments)
        batch[CRITIC] = {
            Columns.OBS: inputs,
            STATE: state[is_step],
            Postprocessing.VALUE_TARGETS: critic.normalize_targets(
                torch.from_numpy(targets.astype(np.float32)).to(device)
            ),
        }
        return batch

    def of_actors(
        self, rl_module: Any, parts: list[JointEpisode], advantages: FloatArray, inputs: Tensor
    ) -> Batch:
        """Return every actor's columns of R rows: what was voted, and the advantages of it.

        Args:
            rl_module: the modules before the update.
            parts: what was sampled, R bars.
            advantages: (R, K, 3) of the three agents' rewards.
            inputs: (R, 60, 7) of the bars.
        """
        device = inputs.device
        advantages, weight = self.credited(advantages, self.vote_weights(parts))
        mean, square = self._moments(advantages, device, weight)
        variance = np.maximum(square - mean**2, 0.0)  # rounding may leave less than nothing
        advantages = (advantages - mean) / np.maximum(np.sqrt(variance), 1e-4)
        if weight is not None:
            advantages *= weight / np.maximum(self._moments(weight, device)[0], 1e-4)
        actions = np.concatenate([part.actions for part in parts])
        logp = np.concatenate([part.logp for part in parts])
        return {
            agent: {
                Columns.OBS: inputs,
                Columns.ACTIONS: _column(actions, i, device),
                Columns.ACTION_LOGP: _column(logp, i, device),
                Postprocessing.ADVANTAGES: _column(advantages.astype(np.float32), i, device),
            }
            for i, agent in enumerate(AGENTS)
        }

    def _state(self, t: IntArray, account: Float32Array, device: torch.device) -> Tensor:
        """Return the critic's features (S, K, 13) of accounts (S, K, 4) on bars (S,)."""
        market = self._histories.market_features(t)[:, None]
        market = np.broadcast_to(market, (*account.shape[:2], market.shape[-1]))
        return torch.from_numpy(np.concatenate([account, market], axis=-1)).to(device)

    def trace(self, parts: list[JointEpisode]) -> float | FloatArray:
        """Return (R, K, 1): lambda where a trade is open after the step, 0 where none is.

        Returns end with the trade; beyond it stands the critic's value.
        """
        held = np.concatenate([part.account[1:, :, POSITION_SIDE] != 0 for part in parts])
        return self._lambda * held[..., None].astype(np.float64)

    def credited(
        self, advantages: FloatArray, weight: FloatArray | None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Return advantages and weights (R, K, 3) of the agents: every agent has its own."""
        return advantages, weight

    def vote_weights(self, parts: list[JointEpisode]) -> FloatArray | None:
        """Return (R, K, 3): 1 where the vote decided something, 0 elsewhere; None: all count."""
        t = np.concatenate([part.t[:-1] for part in parts]).astype(np.int64)
        account = np.concatenate([part.account[:-1] for part in parts])
        hold_bars = self._spec.rules.risk.hold_bars_after_gap
        kind, direction, refused = self._histories.decision_context(t, hold_bars)
        halted = account[..., DRAWDOWN_USED] >= 1.0
        decisive = decisive_votes(
            np.concatenate([part.actions for part in parts]),
            account[..., POSITION_SIDE],
            halted | refused[:, None],
            kind,
            direction,
            self._spec.train_confidence,
            self._spec.rules,
        )
        return decisive.astype(np.float64)

    def _moments(
        self, values: FloatArray, device: torch.device, weight: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return (weighted) mean and mean square (3,) of values (R, K, 3), all learners' rows."""
        flat = values.reshape(-1, NUM_AGENTS)
        share = np.ones_like(flat) if weight is None else weight.reshape(-1, NUM_AGENTS)
        sums = np.stack([(share * flat).sum(0), (share * flat**2).sum(0), share.sum(0)])
        if self._distributed:
            shared = torch.from_numpy(sums).to(device)
            torch.distributed.all_reduce(shared)
            sums = shared.cpu().numpy()
        count = np.maximum(sums[2], 1e-9)  # no vote of an agent may have been decisive
        return sums[0] / count, sums[1] / count


@dataclass(slots=True)
class Minibatch:
    """One minibatch in the form that RLlib's learners take."""

    policy_batches: Batch
    steps: int

    def env_steps(self) -> int:
        """Number of environment steps: rows x accounts."""
        return self.steps

    def steps_by_minibatch(self) -> list[int]:
        """Environment steps of this minibatch."""
        return [self.steps]


@dataclass(slots=True)
class Epoch:
    """The minibatches of one pass, by module, in the form that RLlib's learners take."""

    policy_batches: dict[str, list[dict[str, Tensor]]]
    steps: list[int]

    def env_steps(self) -> int:
        """Number of environment steps of all minibatches."""
        return sum(self.steps)

    def steps_by_minibatch(self) -> list[int]:
        """Environment steps of each minibatch."""
        return self.steps


def by_epoch(minibatches: Iterable[Minibatch], count: int) -> Iterator[Epoch]:
    """Yield ``count`` minibatches at a time, drawn when they are asked for."""
    remaining = iter(minibatches)
    while parts := list(islice(remaining, count)):
        yield Epoch(
            {
                module: [part.policy_batches[module] for part in parts]
                for module in parts[0].policy_batches
            },
            [part.steps for part in parts],
        )


class Minibatches:
    """``epochs`` passes over a batch in ``count`` minibatches of shuffled rows, at most one a row.

    All modules see the same rows, so a tensor that they share is indexed once.
    """

    def __init__(self, batch: Batch, epochs: int, count: int) -> None:
        self._batch, self._epochs, self._count = batch, epochs, count

    def __iter__(self) -> Iterator[Minibatch]:
        rows, accounts = self._batch[CRITIC][STATE].shape[:2]
        for _ in range(self._epochs):
            for chosen in torch.randperm(rows).tensor_split(self._count):
                yield Minibatch(pick(self._batch, chosen), len(chosen) * accounts)


def pick(batch: Batch, rows: Tensor) -> Batch:
    """Return ``rows`` of every column; a tensor that modules share is indexed once."""
    picked: dict[int, Tensor] = {}
    minibatch: Batch = {}
    for module, columns in batch.items():
        minibatch[module] = {}
        for name, values in columns.items():
            if id(values) not in picked:
                picked[id(values)] = values[rows.to(values.device)]
            minibatch[module][name] = picked[id(values)]
    return minibatch


def as_joint_episode(episode: Any) -> JointEpisode:
    """Return a batched runner's episode as it is and convert one of RLlib's stock runner."""
    if isinstance(episode, JointEpisode):
        return episode
    agents = [episode.agent_episodes[agent] for agent in AGENTS]
    infos = agents[0].get_infos()
    rewards = np.stack([agent.get_rewards() for agent in agents], axis=-1).astype(np.float32)
    terminated = np.zeros((len(rewards), 1), dtype=np.bool_)
    if len(rewards):
        # RLlib calls an episode terminated too whose agents are all truncated at once
        terminated[-1] = episode.is_terminated and not episode.is_truncated
    logp = [agent.get_extra_model_outputs(Columns.ACTION_LOGP) for agent in agents]
    return JointEpisode(
        episode.id_,
        np.array([info[BAR] for info in infos], dtype=np.int32),
        np.stack([info[ACCOUNT_STATE] for info in infos]).astype(np.float32)[:, None],
        np.stack([agent.get_actions() for agent in agents], axis=-1).astype(np.int8)[:, None],
        np.stack(logp, axis=-1).astype(np.float32)[:, None],
        rewards[:, None],
        terminated,
        bool(episode.is_done),
    )


def values_of(critic: Any, inputs: Tensor, state: Tensor) -> FloatArray:
    """Return the critic's values (S, K, 3) float64."""
    chunks = [slice(i, i + VALUE_ROWS) for i in range(0, len(inputs), VALUE_ROWS)]
    values = torch.cat([critic.values(inputs[chunk], state[chunk]) for chunk in chunks])
    return values.cpu().numpy().astype(np.float64)


def _column(values: Any, agent: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values[..., agent])).to(device)

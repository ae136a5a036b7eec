"""The MAPPO learner: episodes to batches with centralized advantages, and the clipped loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from envs.parallel import ACCOUNT_STATE, BAR
from rllib_tactical.domain.types import (
    AGENTS,
    NUM_AGENTS,
    Float32Array,
    FloatArray,
    IntArray,
)
from rllib_tactical.rl.episode import JointEpisode
from rllib_tactical.rl.gae import generalised_advantages
from rllib_tactical.rl.market_handle import MarketHandle
from rllib_tactical.rl.modules import CRITIC, STATE


class MappoLearner(PPOTorchLearner):
    """PPO for the actors with advantages of one centralized critic.

    The critic is an RLModule of its own, so it has an optimizer, is saved, restored and wrapped for
    several learners like any other; its loss is its own method.
    """

    def build(self) -> None:
        """Build as PPO does, then make the batch with ``CentralizedBatch``."""
        super().build()
        self._learner_connector.append(
            CentralizedBatch(
                market=self.config.env_config["market"],
                accounts_per_bar=self.config.env_config["accounts_per_bar"],
                gamma=self.config.gamma,
                lam=self.config.lambda_,
            )
        )

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """Ask nothing of the actors: no actor has a value function."""
        return []

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
    ) -> Tensor:
        """Return one actor's loss: clipped surrogate minus the entropy bonus.

        L = -min(r A, clip(r, 1 - eps, 1 + eps) A) - c H (Schulman et al., 2017, eq. 7 and 9).
        """
        log_probabilities = torch.log_softmax(fwd_out[Columns.ACTION_DIST_INPUTS], dim=-1)
        # (bars, 3) by the actions (bars, K) of the K accounts that stood on each bar
        logp = log_probabilities.gather(-1, batch[Columns.ACTIONS].long())
        log_ratio = logp - batch[Columns.ACTION_LOGP]
        ratio, advantages = log_ratio.exp(), batch[Postprocessing.ADVANTAGES]
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        surrogate = torch.min(ratio * advantages, clipped * advantages).mean()
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1).mean()
        coefficient = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
        with torch.no_grad():
            self.metrics.log_dict(
                {
                    POLICY_LOSS_KEY: -surrogate,
                    ENTROPY_KEY: entropy,
                    "approximate_kl": (ratio - 1 - log_ratio).mean(),
                    "clip_fraction": (ratio != clipped).float().mean(),
                },
                key=module_id,
                window=1,
            )
        loss: Tensor = -surrogate - coefficient * entropy
        return loss


class CentralizedBatch(ConnectorV2):
    """Learner connector: episodes to one batch per actor and one for the critic.

    A row is a bar with the K accounts that stood on it (K = ``accounts_per_bar``), so an actor sees
    each matrix once for K actions. Matrices are gathered here from the feature table, values come
    from the centralized critic, advantages are normalised per agent, value targets by their running
    moments.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        market: MarketHandle,
        accounts_per_bar: int,
        gamma: float,
        lam: float,
        shuffle: bool = True,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self._tapes = market.open().tapes
        self._accounts_per_bar = accounts_per_bar
        self._gamma, self._lam, self._shuffle = gamma, lam, shuffle

    def __call__(
        self, *, rl_module: Any, batch: dict[str, Any], episodes: list[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Return ``{module id: {column: tensor}}``."""
        parts = [part for part in map(as_joint_episode, episodes) if len(part)]
        lengths = np.array([len(part) for part in parts])
        t = np.concatenate([part.t for part in parts]).astype(np.int64)
        account = np.concatenate([part.account for part in parts])
        rewards = np.concatenate([part.rewards for part in parts]).astype(np.float64)
        critic = rl_module[CRITIC].unwrapped()
        device = critic.moment1.device

        advantages, targets = generalised_advantages(
            self._values(critic, t, account, device),
            rewards,
            lengths,
            np.array([part.is_terminated for part in parts]),
            self._gamma,
            self._lam,
        )
        spread = np.maximum(advantages.std(axis=0), 1e-4)
        advantages = (advantages - advantages.mean(axis=0)) / spread

        is_step = np.ones(len(t), dtype=np.bool_)
        is_step[np.cumsum(lengths + 1) - 1] = False  # the state after a segment is no step
        t, account = t[is_step], account[is_step]
        rows = rows_by_bar(t, self._accounts_per_bar)  # (R, K) step numbers, sorted by bar
        if self._shuffle:
            # RLlib shuffles between epochs only: sorted, the first would go through time in order
            rows = rows[torch.randperm(len(rows)).numpy()]
        actions = np.concatenate([part.actions for part in parts])[rows]
        logp = np.concatenate([part.logp for part in parts])[rows]
        advantages = advantages.astype(np.float32)[rows]
        inputs = torch.from_numpy(self._tapes.gather(t[rows[:, 0]])).to(device)
        for i, agent in enumerate(AGENTS):
            batch[agent] = {
                Columns.OBS: inputs,
                Columns.ACTIONS: _column(actions, i, device),
                Columns.ACTION_LOGP: _column(logp, i, device),
                Postprocessing.ADVANTAGES: _column(advantages, i, device),
            }
        targets_rows = torch.from_numpy(targets.astype(np.float32)[rows]).to(device)
        batch[CRITIC] = {
            Columns.OBS: inputs,
            STATE: self._state(t[rows], account[rows], device),
            Postprocessing.VALUE_TARGETS: critic.normalise_targets(targets_rows),
        }
        return batch

    def _values(
        self, critic: Any, t: IntArray, account: Float32Array, device: torch.device
    ) -> FloatArray:
        """Return the critic's values (S, 3) of S states, one pass per bar."""
        rows = rows_by_bar(t, self._accounts_per_bar)
        inputs = torch.from_numpy(self._tapes.gather(t[rows[:, 0]])).to(device)
        found = critic.values(inputs, self._state(t[rows], account[rows], device))
        values = np.empty((len(t), NUM_AGENTS))
        values[rows] = found.cpu().numpy()
        return values

    def _state(self, t: IntArray, account: Float32Array, device: torch.device) -> Tensor:
        """Return the critic's features (R, K, 13) of accounts (R, K, 4) on bars (R, K)."""
        market = self._tapes.market_features(t.reshape(-1)).reshape(*t.shape, -1)
        return torch.from_numpy(np.concatenate([account, market], axis=-1)).to(device)


def rows_by_bar(t: IntArray, accounts_per_bar: int) -> IntArray:
    """Return the numbers of the states (R, K) with K states on one bar in each row.

    Args:
        t: (S,) bar of each state.
        accounts_per_bar: K. When the states do not fill rows of K on one bar, as after a shard
            over several learners has cut groups apart, rows of one state are returned.
    """
    if accounts_per_bar > 1 and len(t) % accounts_per_bar == 0:
        rows = np.argsort(t, kind="stable").reshape(-1, accounts_per_bar)
        if (t[rows] == t[rows[:, :1]]).all():
            return rows
    return np.arange(len(t)).reshape(-1, 1)


def as_joint_episode(episode: Any) -> JointEpisode:
    """Return a batched runner's episode as it is and convert one of RLlib's stock runner."""
    if isinstance(episode, JointEpisode):
        return episode
    agents = [episode.agent_episodes[agent] for agent in AGENTS]
    infos = agents[0].get_infos()
    return JointEpisode(
        episode.id_,
        np.array([info[BAR] for info in infos], dtype=np.int32),
        np.stack([info[ACCOUNT_STATE] for info in infos]).astype(np.float32),
        np.stack([agent.get_actions() for agent in agents], axis=1).astype(np.int8),
        np.stack(
            [agent.get_extra_model_outputs(Columns.ACTION_LOGP) for agent in agents], axis=1
        ).astype(np.float32),
        np.stack([agent.get_rewards() for agent in agents], axis=1).astype(np.float32),
        bool(episode.is_terminated),
        bool(episode.is_truncated),
    )


def _column(values: Any, agent: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values[..., agent])).to(device)

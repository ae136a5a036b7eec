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

from envs.parallel import ACCOUNT_STATE
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.episode import JointEpisode
from rllib_tactical.rl.gae import generalised_advantages
from rllib_tactical.rl.market_handle import MarketHandle
from rllib_tactical.rl.modules import CRITIC, STATE


class MappoLearner(PPOTorchLearner):  # type: ignore[misc]  # ray has no types
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
        actions = batch[Columns.ACTIONS].long().unsqueeze(-1)
        logp = log_probabilities.gather(-1, actions).squeeze(-1)
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


class CentralizedBatch(ConnectorV2):  # type: ignore[misc]  # ray has no types
    """Learner connector: episodes to one batch per actor and one for the critic.

    The matrices are gathered here from the feature table, values come from the centralized critic,
    advantages are normalised per agent, value targets by their running moments.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        market: MarketHandle,
        gamma: float,
        lam: float,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self._tape = market.open().tape
        self._gamma, self._lam = gamma, lam

    def __call__(
        self, *, rl_module: Any, batch: dict[str, Any], episodes: list[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Return ``{module id: {column: tensor}}``."""
        parts = [part for part in map(as_joint_episode, episodes) if len(part)]
        lengths = np.array([len(part) for part in parts])
        t = np.concatenate([part.t for part in parts]).astype(np.int64)
        account = np.concatenate([part.account for part in parts])
        state = torch.from_numpy(np.concatenate([account, self._tape.market_features(t)], axis=1))
        inputs = torch.from_numpy(self._tape.inputs.gather(t))
        rewards = np.concatenate([part.rewards for part in parts])

        critic = rl_module[CRITIC].unwrapped()
        device = critic.moment1.device
        inputs, state = inputs.to(device), state.to(device)
        advantages, targets = generalised_advantages(
            critic.values(inputs, state).cpu().numpy().astype(np.float64),
            rewards.astype(np.float64),
            lengths,
            np.array([part.is_terminated for part in parts]),
            self._gamma,
            self._lam,
        )
        spread = np.maximum(advantages.std(axis=0), 1e-4)
        advantages = (advantages - advantages.mean(axis=0)) / spread

        steps = np.ones(len(t), dtype=np.bool_)
        steps[np.cumsum(lengths + 1) - 1] = False  # the state after a segment is no step
        keep = torch.from_numpy(np.flatnonzero(steps)).to(device)
        actions = np.concatenate([part.actions for part in parts])
        logp = np.concatenate([part.logp for part in parts])
        step_inputs = inputs[keep]
        for i, agent in enumerate(AGENTS):
            batch[agent] = {
                Columns.OBS: step_inputs,
                Columns.ACTIONS: _column(actions, i, device),
                Columns.ACTION_LOGP: _column(logp, i, device),
                Postprocessing.ADVANTAGES: _column(advantages.astype(np.float32), i, device),
            }
        batch[CRITIC] = {
            Columns.OBS: step_inputs,
            STATE: state[keep],
            Postprocessing.VALUE_TARGETS: critic.normalise_targets(
                torch.from_numpy(targets.astype(np.float32)).to(device)
            ),
        }
        return batch


def as_joint_episode(episode: Any) -> JointEpisode:
    """Return a batched runner's episode as it is and convert one of RLlib's stock runner."""
    if isinstance(episode, JointEpisode):
        return episode
    agents = [episode.agent_episodes[agent] for agent in AGENTS]
    infos = agents[0].get_infos()
    return JointEpisode(
        episode.id_,
        np.array([info["t"] for info in infos], dtype=np.int32),
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
    return torch.from_numpy(np.ascontiguousarray(values[:, agent])).to(device)

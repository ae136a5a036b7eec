"""RLModules: the actors, and the centralized critic that only learners ever hold."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import VF_LOSS_KEY
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.apis.self_supervised_loss_api import SelfSupervisedLossAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from rllib_tactical.domain.types import NUM_AGENTS
from rllib_tactical.networks import Actor, Critic, Standardisation

CRITIC = "critic"
STATE = "global_state"
MOMENT_DECAY = 0.99


class ActorModule(TorchRLModule):
    """One agent's policy. Its action distribution's inputs are logits / temperature."""

    def setup(self) -> None:
        """Build the actor from ``model_config``: attention, temperature, standardisation."""
        self.actor = Actor(
            self.model_config["attention"],
            self.model_config["temperature"],
            Standardisation(**self.model_config["standardisation"]),
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS])}


class CriticModule(TorchRLModule, InferenceOnlyAPI, SelfSupervisedLossAPI):
    """V(s) on the global state, one head per agent, with running normalisation of its targets.

    Declared ``learner_only``; ``InferenceOnlyAPI`` keeps its weights out of the weight sync.
    """

    moment1: Tensor
    moment2: Tensor
    moment_weight: Tensor

    def setup(self) -> None:
        """Build the critic from ``model_config``."""
        self.critic = Critic(
            self.model_config["account_features"],
            tuple(self.model_config["hidden"]),
            self.model_config["dropout"],
            self.model_config["shared_head"],
            Standardisation(**self.model_config["standardisation"]),
        )
        self.register_buffer("moment1", torch.zeros(NUM_AGENTS))
        self.register_buffer("moment2", torch.zeros(NUM_AGENTS))
        self.register_buffer("moment_weight", torch.zeros(()))

    def get_non_inference_attributes(self) -> list[str]:
        """Name what env runners never need: everything."""
        return ["critic"]

    def target_scale(self) -> tuple[Tensor, Tensor]:
        """Return the running mean and standard deviation (3,) of the value targets."""
        weight = self.moment_weight.clamp_min(1e-8)
        mean, square = self.moment1 / weight, self.moment2 / weight
        if self.model_config["shared_head"]:  # one V(s) has one scale
            mean = mean.mean().expand_as(mean)
            square = square.mean().expand_as(square)
        variance = square - mean**2
        known = self.moment_weight > 0
        std = torch.where(known, variance.clamp_min(1e-8).sqrt(), torch.ones_like(mean))
        return mean, std

    @torch.no_grad()
    def values(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return denormalised values (N, K, 3) of K accounts on each of N bars."""
        mean, std = self.target_scale()
        training = self.training
        self.eval()
        values: Tensor = self.critic(inputs, state) * std + mean
        self.train(training)
        return values

    @torch.no_grad()
    def normalise_targets(self, targets: Tensor) -> Tensor:
        """Take value targets (..., 3) into the running moments and return them normalised."""
        flat = targets.reshape(-1, NUM_AGENTS)
        self.moment1.mul_(MOMENT_DECAY).add_(flat.mean(0), alpha=1 - MOMENT_DECAY)
        self.moment2.mul_(MOMENT_DECAY).add_((flat**2).mean(0), alpha=1 - MOMENT_DECAY)
        self.moment_weight.mul_(MOMENT_DECAY).add_(1 - MOMENT_DECAY)
        mean, std = self.target_scale()
        return (targets - mean) / std

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.VF_PREDS: self.critic(batch[Columns.OBS], batch[STATE])}

    def compute_self_supervised_loss(
        self,
        *,
        learner: Any,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
        **kwargs: Any,
    ) -> Tensor:
        """Return the value loss: mean squared error of the normalised targets, all heads."""
        targets, values = batch[Postprocessing.VALUE_TARGETS], fwd_out[Columns.VF_PREDS]
        loss = torch.mean((values - targets) ** 2)
        wrong = (targets - values.detach()).reshape(-1, NUM_AGENTS)
        spread = targets.reshape(-1, NUM_AGENTS).var(0, unbiased=False).clamp_min(1e-8)
        explained = 1 - wrong.var(0, unbiased=False) / spread
        learner.metrics.log_dict(
            {VF_LOSS_KEY: loss.detach(), "vf_explained_var": explained.mean()},
            key=module_id,
            window=1,
        )
        value_loss: Tensor = config.vf_loss_coeff * loss
        return value_loss

"""Ablations: what the study compares with the product's algorithm, as subclasses of its parts.

The product's classes know nothing of them. ``ABLATIONS`` is the one registry, and ``class_for`` the
one place that reads the settings which choose from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rllib_tactical.bundle.networks import Critic, Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.types import NUM_AGENTS, FloatArray
from rllib_tactical.errors import require
from rllib_tactical.rl.algorithm.connector import CentralizedBatch
from rllib_tactical.rl.algorithm.counterfactual import CounterfactualBatch, CounterfactualLearner
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.modules import CriticModule
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.episode import JointEpisode

T = TypeVar("T")

OTHERS: Final = "others"
"""Where a forward pass's outputs hold the others' part of a joint action's log ratio."""


class EveryVote(CentralizedBatch):
    """Counts every vote in the policy gradient, also those that decided nothing."""

    def vote_weights(self, parts: list[JointEpisode]) -> FloatArray | None:
        """Return None: all votes count alike."""
        return None


class WholeEpisodes(CentralizedBatch):
    """Lets returns reach to the end of the episode, across trades."""

    def trace(self, parts: list[JointEpisode]) -> float | FloatArray:
        """Return lambda, the same after every step."""
        return self._lambda


class JointAction(CentralizedBatch):
    """Takes the three votes as one action of one agent: one advantage for all three.

    It counts where any of the votes decided something.
    """

    def credited(
        self, advantages: FloatArray, weight: FloatArray | None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Return the agents' mean advantage and largest weight, (R, K, 3) each."""
        advantages = _alike(advantages.mean(axis=-1))
        return advantages, None if weight is None else _alike(weight.max(axis=-1))


class JointLearner(MappoLearner):
    """Takes the probability ratio of the three votes together."""

    modules_are_independent = False

    def compute_losses(
        self, *, fwd_out: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Return every module's loss.

        In each actor's loss the others' part of the ratio stands as a number, so that the losses'
        gradients are the joint loss's.
        """
        agents = [module_id for module_id in fwd_out if module_id != CRITIC]
        own = super().log_ratio
        ratios = {each: own(fwd_out[each], batch[each])[1] for each in agents}
        for each in agents:
            others = [ratios[other].detach() for other in agents if other != each]
            fwd_out[each][OTHERS] = sum(others)
        losses: dict[str, Tensor] = super().compute_losses(fwd_out=fwd_out, batch=batch)
        return losses

    def log_ratio(self, fwd_out: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return an actor's log probabilities, and the log ratios of the joint action."""
        log_probabilities, log_ratio = super().log_ratio(fwd_out, batch)
        return log_probabilities, log_ratio + fwd_out[OTHERS]


class IndependentCritics(nn.Module):
    """Three critics, each on the matrix alone: what its actor sees (IPPO).

    Args:
        hidden: widths of the hidden layers of each.
        dropout: probability of dropping a hidden unit while training.
        standardization: of the matrix's columns.
    """

    def __init__(
        self, hidden: tuple[int, ...], dropout: float, standardization: Standardization
    ) -> None:
        super().__init__()
        self.critics = nn.ModuleList(
            [Critic(0, hidden, dropout, True, standardization) for _ in range(NUM_AGENTS)]
        )

    def forward(self, inputs: Tensor, account: Tensor) -> Tensor:
        """Return normalized values (N, K, 3), the same for all K accounts on a bar."""
        values = [critic(inputs, account[:, :1, :0])[..., :1] for critic in self.critics]
        return torch.cat(values, dim=-1).expand(-1, account.shape[1], -1)


class IndependentCriticModule(CriticModule):
    """Three networks instead of one on the global state."""

    def make_critic(self, standardization: Standardization) -> nn.Module:
        """Return the three critics."""
        config = self.model_config
        return IndependentCritics(tuple(config["hidden"]), config["dropout"], standardization)


ABLATIONS: Final[Mapping[tuple[str, str], tuple[type, ...]]] = {
    ("model.actors", "joint"): (JointAction, JointLearner),
    ("model.critic", "independent"): (IndependentCriticModule,),
    ("training.credit", "all"): (EveryVote,),
    ("training.credit", "counterfactual"): (CounterfactualBatch, CounterfactualLearner),
    ("training.trace", "episode"): (WholeEpisodes,),
}
"""Subclasses of the product's classes by setting and value; other values are the product's."""


def check_ablations(config: TacticalConfig) -> None:
    """Refuse ablations that do not combine. Runs made with them can still be exported.

    A joint action is decisive where any of its votes was, which depends on the votes that were
    drawn. Leaving out the other steps then biases the gradient of their common ratio.

    Raises:
        ConfigError: joint actors learn from decisive votes only.
    """
    credit = config.training.credit
    require(
        config.model.actors == "separate" or credit != "decisive",
        "training.credit must be all with model.actors joint: the gradient would be biased",
        credit,
    )


def class_for(base: type[T], config: TacticalConfig) -> type[T]:
    """Return a class of the product, or what a configuration's ablations make of it.

    Ablations of one class change different methods of it, so that they combine in any order.
    """
    found = [
        each
        for (setting, value), classes in ABLATIONS.items()
        if attrgetter(setting)(config) == value
        for each in classes
        if issubclass(each, base)
    ]
    if len(found) > 1:
        return type("".join(each.__name__ for each in found), tuple(found), {})
    return found[0] if found else base


def _alike(values: FloatArray) -> FloatArray:
    """Return values (R, K) for every agent: (R, K, 3)."""
    return np.repeat(values[..., None], NUM_AGENTS, axis=-1)

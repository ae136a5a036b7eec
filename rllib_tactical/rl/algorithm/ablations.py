"""Ablations: what the study compares with the product's algorithm, as subclasses of its parts.

The product's classes know nothing of them. ``ABLATIONS`` is the one registry, and ``class_for`` the
one place that reads the settings which choose from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor, nn

from rllib_tactical.bundle.networks import Critic, Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.types import NUM_AGENTS, FloatArray
from rllib_tactical.errors import require
from rllib_tactical.rl.algorithm.connector import (
    Batch,
    CentralizedBatch,
    Minibatch,
    Minibatches,
    pick,
)
from rllib_tactical.rl.algorithm.counterfactual import (
    CounterfactualBatch,
    CounterfactualLearner,
    FreshMinibatches,
    ValuedLesson,
)
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


class SequentialBatch(CounterfactualBatch):
    """Keeps the bars that were drawn, so that agents can be credited anew on the same ones."""

    def _valued(self, rl_module: Any, device: torch.device) -> ValuedLesson:
        self._kept = super()._valued(rl_module, device)
        return self._kept

    def again(self, rl_module: Any) -> Batch:
        """Return every actor's columns of the same bars, by the policies as they are now."""
        return self.columns(rl_module, self._kept)


class SequentialMinibatches(FreshMinibatches):
    """The minibatches of one agent after those of another, each credited when its turn comes.

    The critic learns with the first agent, and the first agent's minibatches count as steps.

    Args:
        batch: columns by module, those of the actors by the policies before the update.
        epochs: passes of the critic over its rows.
        count: minibatches per pass.
        order: of the agents' turns.
        again: returns every actor's columns by the policies as they are now.
    """

    def __init__(
        self,
        batch: Batch,
        epochs: int,
        count: int,
        order: tuple[str, ...],
        again: Callable[[], Batch],
    ) -> None:
        super().__init__(batch, epochs, count)
        self._order, self._again = order, again

    def __iter__(self) -> Iterator[Minibatch]:
        together = {module: self._batch[module] for module in (CRITIC, *self._order[:1])}
        yield from FreshMinibatches(together, self._epochs, self._count)
        for agent in self._order[1:]:
            mine = {agent: self._again()[agent]}
            bars = torch.arange(len(mine[agent][Columns.OBS]))
            for rows in bars.tensor_split(self._epochs * self._count):
                yield Minibatch(pick(mine, rows), 0)


class SequentialLearner(CounterfactualLearner):
    """Updates one agent after the other in a random order, as HAPPO does (Kuba et al., 2022).

    There the ratios of the agents before weight a sampled advantage. Here the advantage is exact,
    so the new policies of the agents before take the place of their old ones in the expectation.
    """

    def make_connector(self, batch_class: Any, **more: Any) -> Any:
        """Return the connector, which is asked once more before each agent's turn."""
        self._made = super().make_connector(batch_class, **more)
        return self._made

    def minibatches(self, batch: Batch, epochs: int, count: int) -> Minibatches:
        """Return the turns; all learners draw the same order."""
        agents = [module for module in batch if module != CRITIC]
        rng = np.random.default_rng([self.config.seed or 0, self._weights_seq_no])
        order = tuple(agents[i] for i in rng.permutation(len(agents)))
        return SequentialMinibatches(
            batch, epochs, count, order, lambda: self._made.again(self.module)
        )


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


class AccountCritic(nn.Module):
    """A critic on the account and the session alone: it sees no bar.

    Args:
        account_features: how many there are.
        hidden: widths of the hidden layers.
        dropout: probability of dropping a hidden unit while training.
        shared_head: one V(s) for all agents.
    """

    def __init__(
        self, account_features: int, hidden: tuple[int, ...], dropout: float, shared_head: bool
    ) -> None:
        super().__init__()
        self.critic = Critic(account_features, hidden, dropout, shared_head)

    def forward(self, inputs: Tensor, account: Tensor) -> Tensor:
        """Return normalized values (N, K, 3), the same whatever the bars (N, 60, 7) are."""
        values: Tensor = self.critic(torch.zeros_like(inputs), account)
        return values


class AccountCriticModule(CriticModule):
    """The centralized critic without the bars."""

    def make_critic(self, standardization: Standardization) -> nn.Module:
        """Return the critic; there is nothing to standardize."""
        config = self.model_config
        return AccountCritic(
            config["account_features"],
            tuple(config["hidden"]),
            config["dropout"],
            config["shared_head"],
        )


class NoCritic(nn.Module):
    """Says 0 of every state. Its one parameter is there for the optimizer and stays 0."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor, account: Tensor) -> Tensor:
        """Return zeros (N, K, 3)."""
        zeros = account.new_zeros((*account.shape[:2], NUM_AGENTS))
        return zeros * self.zero


class NoCriticModule(CriticModule):
    """No critic: what follows a trade, or a bar without one, is worth nothing."""

    def make_critic(self, standardization: Standardization) -> nn.Module:
        """Return what stands in for the critic."""
        return NoCritic()

    def values(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return zeros (N, K, 3), not the mean of the targets that a normalized 0 stands for."""
        return state.new_zeros((*state.shape[:2], NUM_AGENTS))


ABLATIONS: Final[Mapping[tuple[str, str], tuple[type, ...]]] = {
    ("model.actors", "joint"): (JointAction, JointLearner),
    ("model.critic", "independent"): (IndependentCriticModule,),
    ("model.critic", "account"): (AccountCriticModule,),
    ("model.critic", "none"): (NoCriticModule,),
    ("training.updates", "sequential"): (SequentialBatch, SequentialLearner),
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

    Ablations of one class change different methods of it, so that they combine in any order; one
    that builds on another takes its place.
    """
    found = [
        each
        for (setting, value), classes in ABLATIONS.items()
        if attrgetter(setting)(config) == value
        for each in classes
        if issubclass(each, base)
    ]
    found = [each for each in found if not any(issubclass(x, each) for x in found if x != each)]
    if len(found) > 1:
        return type("".join(each.__name__ for each in found), tuple(found), {})
    return found[0] if found else base


def _alike(values: FloatArray) -> FloatArray:
    """Return values (R, K) for every agent: (R, K, 3)."""
    return np.repeat(values[..., None], NUM_AGENTS, axis=-1)

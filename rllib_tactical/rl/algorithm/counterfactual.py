"""``credit: counterfactual``: the exact advantage of every vote of every agent, on all bars.

The critic learns from what was sampled. The actors learn from training bars drawn anew for each
minibatch, with the outcome of a trade on either side from the what-if table and the critic's values
of the account that is flat after it. Their loss is PPO's over all three votes:

    L_i = - mean_x sum_a pi_old(a|x) min(r_a A_i(x, a), clip(r_a) A_i(x, a)) - tau H + c E

where r_a = pi(a|x) / pi_old(a|x), H is the entropy of the policy, tau the temperature of
preferences, and E the squared error of the outcomes that the logits predict, tau times the
difference of two logits. Votes of an account that holds a position are not credited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from rllib_tactical.config.training import CounterfactualConfig
from rllib_tactical.domain.decision.actions import WAIT
from rllib_tactical.domain.types import AGENTS, BoolArray, FloatArray, IntArray
from rllib_tactical.rl.algorithm.connector import (
    VALUE_ROWS,
    Batch,
    CentralizedBatch,
    Epoch,
    Minibatch,
    Minibatches,
    pick,
    values_of,
)
from rllib_tactical.rl.algorithm.credit import aggressive_size, counterfactual_advantages
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.pretraining import pretrain
from rllib_tactical.rl.algorithm.teacher import Lesson, Teacher
from rllib_tactical.rl.names import CRITIC, OUTCOME_LOSS
from rllib_tactical.rl.sampling.episode import JointEpisode
from rllib_tactical.rl.sampling.market_env import MARKET

OUTCOMES: Final = "outcomes"
"""Column (N, 2): what the two votes that may trade bring more than the one that does not."""

KNOWN: Final = "known"
"""Column (N, 2) bool: whether the order would have filled."""

COUNTERFACTUAL: Final = "counterfactual"
"""Key in ``learner_config_dict``: the settings."""

PRETRAINED: Final = "pretrained"
"""Where a learner's state says that its actors have been pre-trained."""

IDLE: Final = {"fvg": 1, "momentum": 1, "entry": WAIT}
"""The vote of each agent that trades nothing."""


@dataclass(frozen=True, slots=True)
class ValuedLesson:
    """N training bars with what the votes on them are worth, whatever the policies are.

    ``inputs`` (N, 60, 7) the network input; ``traded`` (N, 2 sides, 3 agents) and ``flat`` (N, 3)
    the values of a trade on either side and of none.
    """

    lesson: Lesson
    inputs: Tensor
    traded: FloatArray
    flat: FloatArray


class CounterfactualBatch(CentralizedBatch):
    """Makes the actors' columns of training bars that are drawn anew, ``bars`` for a batch."""

    takes_logp: ClassVar[bool] = False

    def __init__(self, *args: Any, teacher: Teacher, bars: int, mirror: bool, **more: Any) -> None:
        super().__init__(*args, **more)
        self._teacher, self._count, self._mirror = teacher, bars, mirror

    def of_actors(
        self, rl_module: Any, parts: list[JointEpisode], advantages: FloatArray, inputs: Tensor
    ) -> Batch:
        """Return every actor's columns of bars that have nothing to do with what was sampled."""
        return self.columns(rl_module, self._valued(rl_module, inputs.device))

    def _valued(self, rl_module: Any, device: torch.device) -> ValuedLesson:
        lesson = self._teacher.lesson(self._drawn())
        critic = rl_module[CRITIC].unwrapped()
        flat = self._gamma * self._flat_values(critic, lesson.next, device)
        after = [self._flat_values(critic, bars, device) for bars in lesson.after.T]
        discount = self._gamma ** lesson.bars[..., None]
        traded = lesson.returns + discount * np.stack(after, axis=1)
        traded = np.where(lesson.opened[..., None], traded, flat[:, None])
        if self._mirror:
            turned = torch.rand(self._count).numpy() < 0.5
            lesson = lesson.mirrored(turned)
            traded = np.where(turned[:, None, None], traded[:, ::-1], traded)
        return ValuedLesson(lesson, torch.from_numpy(lesson.inputs).to(device), traded, flat)

    def columns(self, rl_module: Any, valued: ValuedLesson) -> Batch:
        """Return every actor's columns, with the advantages that the policies have as they are now.

        ``ACTION_LOGP`` and ``ADVANTAGES`` (N, 3) of all three votes; ``OUTCOMES`` and ``KNOWN``.
        """
        lesson, seen, device = valued.lesson, valued.inputs, valued.inputs.device
        traded, flat = valued.traded, valued.flat
        logp = [_log_probabilities(rl_module[agent], seen) for agent in AGENTS]
        probabilities = torch.stack(logp, dim=1).exp().cpu().numpy().astype(np.float64)
        exact = counterfactual_advantages(
            traded,
            flat,
            probabilities,
            lesson.kind,
            lesson.direction,
            self._spec.train_confidence,
            self._spec.rules,
        )
        outcomes = self._outcomes(traded - flat[:, None], probabilities, lesson.opened)
        columns: Batch = {}
        for i, agent in enumerate(AGENTS):
            brings, known = outcomes[agent]
            columns[agent] = {
                Columns.OBS: seen,
                Columns.ACTION_LOGP: logp[i],
                Postprocessing.ADVANTAGES: _tensor(exact[:, i], device),
                OUTCOMES: _tensor(brings, device),
                KNOWN: torch.from_numpy(known).to(device),
            }
        return columns

    def _drawn(self) -> IntArray:
        """Return the rows of the table for one batch; learners that draw alike share the draw."""
        rank, learners = 0, 1
        if self._distributed:
            rank, learners = torch.distributed.get_rank(), torch.distributed.get_world_size()
        drawn = torch.randint(len(self._teacher), (self._count * learners,)).numpy()
        mine: IntArray = drawn[rank::learners]
        return mine

    def _flat_values(self, critic: Any, t: IntArray, device: torch.device) -> FloatArray:
        """Return the critic's values (N, 3) of a fresh account that is flat on bars ``t`` (N,)."""
        account = np.zeros((len(t), 1, len(self._spec.episodes.account_features)), dtype=np.float32)
        inputs = torch.from_numpy(self._histories.gather(t)).to(device)
        return values_of(critic, inputs, self._state(t, account, device))[:, 0]

    def _outcomes(
        self, more: FloatArray, probabilities: FloatArray, opened: BoolArray
    ) -> dict[str, tuple[FloatArray, BoolArray]]:
        """Return by agent what its two trading votes bring (N, 2), and whether that is known.

        For fvg and momentum the long and the short trade. For the entry agent an executed and an
        aggressive order of the side that the other two prefer.
        """
        prefers = (probabilities[:, :2, 0] - probabilities[:, :2, 2]).sum(axis=1)
        rows, side = np.arange(len(more)), (prefers < 0).astype(np.int64)
        executed, known = more[rows, side, 2], opened[rows, side]
        size = aggressive_size(self._spec.train_confidence, self._spec.rules)
        return {
            "fvg": (more[..., 0], opened),
            "momentum": (more[..., 1], opened),
            "entry": (
                np.stack([executed, size * executed], axis=1),
                np.stack([known, known], axis=1),
            ),
        }


class FreshMinibatches(Minibatches):
    """Minibatches in which the actors see bars only once; the critic sees its rows every epoch."""

    def __iter__(self) -> Iterator[Minibatch]:
        actors = {module: columns for module, columns in self._batch.items() if module != CRITIC}
        bars = len(next(iter(actors.values()))[Columns.OBS]) if actors else 0
        fresh = iter(torch.arange(bars).tensor_split(self._epochs * self._count))
        for part in Minibatches({CRITIC: self._batch[CRITIC]}, self._epochs, self._count):
            part.policy_batches |= pick(actors, next(fresh))
            yield part


class CounterfactualLearner(MappoLearner):
    """PPO's loss over all three votes, after the actors were pre-trained."""

    def build(self) -> None:
        """Build as MAPPO does; the tables are made here."""
        self._settings: CounterfactualConfig = self.config.learner_config_dict[COUNTERFACTUAL]
        market = self.config.env_config[MARKET].open()
        self._teacher = Teacher(market, self.config.gamma)
        self._size = aggressive_size(market.train_confidence, market.rules)
        self._pretrained = False
        super().build()

    def make_connector(self, batch_class: Any, **more: Any) -> Any:
        """Return the connector, which draws the bars of one update."""
        per_minibatch = max(
            1, self.config.minibatch_size // self.config.env_config["accounts_per_bar"]
        )
        return super().make_connector(
            batch_class,
            teacher=self._teacher,
            bars=self.updates_per_batch * per_minibatch,
            mirror=self._settings.mirror,
            **more,
        )

    def minibatches(self, batch: Batch, epochs: int, count: int) -> Minibatches:
        """Return minibatches with bars that no other has."""
        return FreshMinibatches(batch, epochs, count)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the state, and whether the actors have been pre-trained."""
        return {**super().get_state(*args, **kwargs), PRETRAINED: self._pretrained}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the state; actors that were pre-trained are not once more."""
        super().set_state(state)
        self._pretrained = state.get(PRETRAINED, self._pretrained)

    def _create_iterator_if_necessary(self, **kwargs: Any) -> Iterable[Minibatch | Epoch]:
        self.pretrain_once()
        return super()._create_iterator_if_necessary(**kwargs)

    def pretrain_once(self) -> None:
        """Pre-train the actors that learn, if that has not been done; the first update does so."""
        if not self._pretrained:
            self._pretrain()
            self._pretrained = True

    def _pretrain(self) -> None:
        settings = self._settings
        learning = [agent for agent in AGENTS if self.should_module_be_updated(agent)]
        if settings.pretraining_passes and learning:
            pretrain(
                {agent: self.module[agent].unwrapped().actor for agent in learning},
                self._teacher,
                min(settings.pretraining_passes * len(self._teacher), settings.pretraining_bars),
                settings.temperature,
                self._size,
                settings.mirror,
                self.config.seed or 0,
                self._threads,
            )

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
    ) -> Tensor:
        """Return one actor's loss, the formula at the head of this module."""
        settings = self._settings
        log_probabilities = torch.log_softmax(fwd_out[Columns.ACTION_DIST_INPUTS], dim=-1)
        before, advantages = batch[Columns.ACTION_LOGP], batch[Postprocessing.ADVANTAGES]
        log_ratio = log_probabilities - before
        ratio, weight = log_ratio.exp(), before.exp()
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        surrogate = torch.min(ratio * advantages, clipped * advantages)
        surrogate = (weight * surrogate).sum(-1).mean()
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1).mean()
        idle = IDLE[module_id]
        trading = [vote for vote in range(log_probabilities.shape[-1]) if vote != idle]
        predicted = log_probabilities[:, trading] - log_probabilities[:, [idle]]
        error = settings.temperature * predicted - batch[OUTCOMES]
        error = torch.where(batch[KNOWN], error, 0.0).square().mean()
        with torch.no_grad():
            self.metrics.log_dict(
                {
                    POLICY_LOSS_KEY: -surrogate,
                    ENTROPY_KEY: entropy,
                    "approximate_kl": (weight * (ratio - 1 - log_ratio)).sum(-1).mean(),
                    "clip_fraction": (weight * (ratio != clipped)).sum(-1).mean(),
                    OUTCOME_LOSS: error,
                },
                key=module_id,
                window=self.updates_per_batch,
            )
        loss: Tensor = -surrogate - settings.temperature * entropy + settings.outcome_coef * error
        return loss


@torch.no_grad()
def _log_probabilities(module: Any, inputs: Tensor) -> Tensor:
    """Return an actor's log probabilities (N, 3)."""
    chunks = [
        module.forward_train({Columns.OBS: part})[Columns.ACTION_DIST_INPUTS]
        for part in torch.split(inputs, VALUE_ROWS)
    ]
    return torch.log_softmax(torch.cat(chunks), dim=-1)


def _tensor(values: FloatArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)

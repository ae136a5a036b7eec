"""MAPPO written by hand in NumPy and PyTorch, without RLlib: a reference and a baseline.

It shares only the networks, the market and its simulator with the product. Tests compare the
learner with it update by update; the benchmark compares speeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.market import MarketSpec
from rllib_tactical.bundle.networks import Actor, Critic, Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MARKET_FEATURES
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES
from rllib_tactical.domain.types import (
    AGENTS,
    NUM_ACTIONS,
    NUM_AGENTS,
    BoolArray,
    Float32Array,
    FloatArray,
    IntArray,
)

DECAY = 0.99


@dataclass(slots=True)
class Rollout:
    """T steps of N accounts. ``next_*`` is the state after the step, before any restart.

    ``t``, ``next_t`` (T, N); ``account``, ``next_account`` (T, N, 4); ``actions``, ``logp``,
    ``rewards`` (T, N, 3); ``terminated`` (T, N); ``cut`` (T, N): terminated or truncated.
    """

    t: IntArray
    account: Float32Array
    actions: NDArray[np.int64]
    logp: Float32Array
    rewards: FloatArray
    terminated: BoolArray
    cut: BoolArray
    next_t: IntArray
    next_account: Float32Array


class PlainMappo:
    """Three actors, one critic, four Adam optimizers, and the loop around them.

    Args:
        config: rates, sizes and coefficients.
        spec: the market.
        standardization: of the network input.
        group_size: accounts that replay the same bars; their actors' pass is shared in sampling.
    """

    def __init__(
        self,
        config: TacticalConfig,
        spec: MarketSpec,
        standardization: Standardization,
        group_size: int = 1,
    ) -> None:
        training = config.training
        self.training, self.shared = training, config.model.critic_heads == "shared"
        self.rules = spec.rules
        self.histories = spec.histories
        self.confidence = spec.train_confidence
        self.replay = spec.replay_set(training.num_envs, training.seed, group_size)
        self.rng = np.random.default_rng(training.seed)
        self.actors = [
            Actor(
                getattr(config.agents, agent).attention_weights,
                getattr(config.agents, agent).exploration_temperature,
                standardization,
            )
            for agent in AGENTS
        ]
        self.critic = Critic(
            len(ACCOUNT_FEATURES) + len(MARKET_FEATURES),
            config.model.hidden_sizes,
            config.model.dropout_rate,
            self.shared,
            standardization,
        )
        networks = [*self.actors, self.critic]
        rates = [*config.learning_rates.values(), training.critic_lr]
        self.parameters = [list(network.parameters()) for network in networks]
        self.optimizers = [
            torch.optim.Adam(parameters, lr=rate, fused=True)
            for parameters, rate in zip(self.parameters, rates, strict=True)
        ]
        self.moment1 = self.moment2 = np.zeros(NUM_AGENTS)
        self.weight = 0.0

    @torch.no_grad()
    def sample(self, steps: int) -> Rollout:
        """Step all accounts ``steps`` times."""
        rows: list[tuple[object, ...]] = []
        replay, size = self.replay, self.replay.group_size
        for _ in range(steps):
            t, account = replay.bar.copy(), replay.account_features()
            inputs = torch.from_numpy(replay.observe())
            by_group = torch.stack([actor(inputs).log_softmax(-1) for actor in self.actors], 1)
            logp: Float32Array = by_group.repeat_interleave(size, dim=0).numpy()
            # the argmax of logits plus Gumbel noise is a sample of the softmax
            noise = self.rng.gumbel(size=logp.shape)
            actions = (logp + noise).argmax(-1)
            moved = replay.step(constant_votes(actions, self.confidence))
            cut = moved.terminated | moved.truncated
            chosen = np.take_along_axis(logp, actions[..., None], -1)[..., 0]
            after = replay.bar.copy(), replay.account_features()
            rows.append((t, account, actions, chosen, moved.rewards, moved.terminated, cut, *after))
            if cut.any():
                replay.restart(np.flatnonzero(cut))
        return Rollout(*(np.stack(column) for column in zip(*rows, strict=True)))

    def update(self, rollout: Rollout) -> None:
        """Update the networks from a rollout: ``epochs`` passes over shuffled minibatches."""
        training = self.training
        advantages, targets = self.advantages(rollout)
        weight = np.ones_like(advantages)
        if training.credit == "decisive":
            weight = self.decisive(rollout).astype(np.float64)
        self.moment1 = DECAY * self.moment1 + (1 - DECAY) * targets.mean((0, 1))
        self.moment2 = DECAY * self.moment2 + (1 - DECAY) * (targets**2).mean((0, 1))
        self.weight = DECAY * self.weight + (1 - DECAY)
        mean, std = self._scale()
        data = [
            _flat(self.histories.gather(rollout.t.reshape(-1))),
            _flat(self._state(rollout.t, rollout.account)),
            _flat(rollout.actions.reshape(-1, NUM_AGENTS)),
            _flat(rollout.logp.reshape(-1, NUM_AGENTS)),
            _flat(_standardized(advantages, weight).reshape(-1, NUM_AGENTS)),
            _flat(((targets - mean) / std).reshape(-1, NUM_AGENTS)),
        ]
        rows = len(data[0])
        for _ in range(training.passes):
            for chosen in torch.split(torch.randperm(rows), training.batch_size):
                self._step(*(column[chosen] for column in data))

    def advantages(self, rollout: Rollout) -> tuple[FloatArray, FloatArray]:
        """Return advantages and value targets (T, N, 3), computed backwards step by step."""
        gamma, lambda_ = self.training.gamma, self.training.gae_lambda
        values = self._values(rollout.t, rollout.account)
        following = np.concatenate([values[1:], values[:1]])
        own = rollout.cut.copy()
        own[-1] = True  # the rollout ends: no row follows
        following[own] = self._values(rollout.next_t[own], rollout.next_account[own])
        following[rollout.terminated] = 0.0
        advantages = np.empty_like(values)
        running = np.zeros_like(values[0])
        for k in reversed(range(len(values))):
            running = running * ~rollout.cut[k][:, None]
            if self.training.trace == "trade":  # later rewards belong to later decisions
                running = running * (rollout.next_account[k, :, :1] != 0)
            delta = rollout.rewards[k] + gamma * following[k] - values[k]
            running = delta + gamma * lambda_ * running
            advantages[k] = running
        return advantages, advantages + values

    def decisive(self, rollout: Rollout) -> BoolArray:
        """Return whether another vote of the agent would have changed the order, (T, N, 3).

        Tries the three votes of each agent, with the votes of the other two unchanged.
        """
        t = rollout.t.reshape(-1)
        hold_bars = self.rules.risk.hold_bars_after_gap
        kind, direction, refused = self.histories.decision_context(t, hold_bars)
        account = rollout.account.reshape(-1, rollout.account.shape[-1])
        actions = rollout.actions.reshape(-1, NUM_AGENTS)
        held, halted = np.sign(account[:, 0]), account[:, 3] >= 1.0
        found = np.zeros(actions.shape, dtype=np.bool_)
        for agent in range(NUM_AGENTS):
            orders = []
            for vote in range(NUM_ACTIONS):
                other = actions.copy()
                other[:, agent] = vote
                votes = constant_votes(other, self.confidence)
                outcome = votes.aggregate(kind, direction, self.rules.aggregation)
                sizes = self.rules.orders
                cap = np.where(outcome.aggressive, sizes.cap_aggressive, sizes.cap_execute)
                size = np.minimum(outcome.score / sizes.full_size_confidence, cap)
                side = np.where(outcome.execute, outcome.side, 0)
                closes = np.where(side == -held, side, 0)
                orders.append(np.where(held == 0, side * size, closes))
            found[:, agent] = np.ptp(np.stack(orders), axis=0) > 0
        found &= ~(halted | refused)[:, None]
        return found.reshape(rollout.actions.shape)

    def _step(
        self,
        inputs: Tensor,
        state: Tensor,
        actions: Tensor,
        old_logp: Tensor,
        advantages: Tensor,
        targets: Tensor,
    ) -> None:
        training = self.training
        with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bfloat16"):
            logits = [actor(inputs) for actor in self.actors]
            values = self.critic(inputs, state[:, None])[:, 0]
        losses = []
        for i, each in enumerate(logits):
            logp = each.float().log_softmax(-1)
            chosen = logp.gather(-1, actions[:, i : i + 1])[:, 0]
            ratio = (chosen - old_logp[:, i]).exp()
            clipped = ratio.clamp(1 - training.clip_ratio, 1 + training.clip_ratio)
            surrogate = torch.min(ratio * advantages[:, i], clipped * advantages[:, i]).mean()
            entropy = -(logp.exp() * logp).sum(-1).mean()
            losses.append(-surrogate - training.entropy_coef * entropy)
        losses.append(training.value_loss_coef * ((values.float() - targets) ** 2).mean())
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        for parameters, optimizer in zip(self.parameters, self.optimizers, strict=True):
            nn.utils.clip_grad_norm_(parameters, training.max_grad_norm)
            optimizer.step()

    @torch.no_grad()
    def _values(self, t: IntArray, account: Float32Array) -> FloatArray:
        mean, std = self._scale()
        inputs = torch.from_numpy(self.histories.gather(t.reshape(-1)))
        state = _flat(self._state(t, account))
        self.critic.eval()
        found = self.critic(inputs, state[:, None])[:, 0].double().numpy()
        self.critic.train()
        values: FloatArray = (found * std + mean).reshape(*t.shape, NUM_AGENTS)
        return values

    def _state(self, t: IntArray, account: Float32Array) -> Float32Array:
        market = self.histories.market_features(t.reshape(-1))
        return np.concatenate([account.reshape(len(market), -1), market], axis=-1)

    def _scale(self) -> tuple[FloatArray, FloatArray]:
        if self.weight == 0.0:
            return np.zeros(NUM_AGENTS), np.ones(NUM_AGENTS)
        mean, square = self.moment1 / self.weight, self.moment2 / self.weight
        if self.shared:  # one V(s) has one scale
            mean, square = (np.full(NUM_AGENTS, each.mean()) for each in (mean, square))
        return mean, np.sqrt(np.maximum(square - mean**2, 1e-8))


def _standardized(advantages: FloatArray, weight: FloatArray) -> FloatArray:
    """Return weighted advantages, standardized over the decisive ones; weights average to one."""
    share = weight / np.maximum(weight.sum((0, 1)), 1e-9)
    centered: FloatArray = advantages - (share * advantages).sum((0, 1))
    spread = np.maximum(np.sqrt((share * centered**2).sum((0, 1))), 1e-4)
    weighted: FloatArray = centered / spread * weight / np.maximum(weight.mean((0, 1)), 1e-4)
    return weighted


def _flat(values: NDArray[np.generic]) -> Tensor:
    tensor = torch.from_numpy(values)
    return tensor.float() if tensor.is_floating_point() else tensor

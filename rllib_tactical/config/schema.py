"""Configuration: one YAML file, frozen dataclasses, unknown keys rejected, one place for defaults.

``tactical.yaml`` at the top of the repository lists every key with its default; a test keeps it
equal to the dataclasses here.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Final, Literal

from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.config.training import CounterfactualConfig, TrainingConfig
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES, NUM_FEATURES, WINDOW, StrictConfig
from rllib_tactical.errors import require

REPLACED_BY: Final = {
    "training.steps_per_update": ("training.episodes_per_update",),
    "training.episodes_per_update": ("training.steps_per_update",),
    "training.actor_lr": tuple(f"agents.{agent}.learning_rate" for agent in AGENTS),
}
"""Settings that replace others: who gives one on top of a configuration unsets the others of it."""

MAX_WIDTH: Final = 65_536
"""The widest layer that is taken for meant: a wider one would ask for all memory there is."""

UNWEIGHTED: Final = ("fvg_age", "fvg_mitigation_signal")
"""Features without a weight in a list of five attention weights."""


RATE: Final = 1e-3
"""Learning rate of actors that begin with random weights or with those of another run."""

PRETRAINED_RATE: Final = 3e-4
"""Learning rate of pre-trained actors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(StrictConfig):
    """The networks. The shape of the specification's actors is fixed.

    ``network``: of the actors, ``conv`` or one that was registered.
    ``input_shape`` (bars, features) and ``activation`` are those of all networks and cannot be
    changed. ``hidden_sizes`` and ``dropout_rate`` are the critic's.
    ``actors``: "separate" agents, or the three votes as one "joint" action of one agent, with one
    probability ratio and one advantage. ``critic``: "centralized" sees the global state (MAPPO);
    "independent" is one critic per agent that sees what its actor sees (IPPO); "account" is one
    for all that sees the account and the session, but not the bars; "none" says that whatever
    follows is worth 0. ``critic_heads``: one value per agent, or one shared V(s).
    """

    network: str = "conv"
    actors: Literal["separate", "joint"] = "separate"
    critic: Literal["centralized", "independent", "account", "none"] = "centralized"
    input_shape: tuple[int, int] = (WINDOW, NUM_FEATURES)
    activation: Literal["relu"] = "relu"
    hidden_sizes: tuple[int, ...] = (512, 256, 128)
    dropout_rate: float = 0.0
    critic_heads: Literal["per_agent", "shared"] = "per_agent"

    def __post_init__(self) -> None:
        require(
            self.input_shape == (WINDOW, NUM_FEATURES),
            f"model.input_shape must be [{WINDOW}, {NUM_FEATURES}]",
            self.input_shape,
        )
        require(
            bool(self.hidden_sizes) and all(1 <= size <= MAX_WIDTH for size in self.hidden_sizes),
            f"model.hidden_sizes must list layer widths in 1..{MAX_WIDTH}",
            self.hidden_sizes,
        )
        require(
            0.0 <= self.dropout_rate < 1.0,
            "model.dropout_rate must be in [0, 1)",
            self.dropout_rate,
        )
        require(
            self.critic != "independent" or self.critic_heads == "per_agent",
            "model.critic_heads must be per_agent when model.critic is independent",
            self.critic_heads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(StrictConfig):
    """One agent: initial weights of the features, temperature, learning rate.

    ``attention_weights`` are seven numbers, one per feature; or five, without those of ``fvg_age``
    and ``fvg_mitigation_signal``, which then begin with the smallest of the five.
    ``exploration_temperature`` divides the logits. ``learning_rate`` None: ``training.actor_lr``.
    """

    attention_weights: tuple[float, ...]
    exploration_temperature: float
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        weights, temperature = self.attention_weights, self.exploration_temperature
        require(
            all(map(math.isfinite, weights)), "agents.*.attention_weights must be finite", weights
        )
        if len(weights) == NUM_FEATURES - len(UNWEIGHTED):
            given = iter(weights)
            weights = tuple(
                min(weights) if name in UNWEIGHTED else next(given) for name in FEATURE_NAMES
            )
            object.__setattr__(self, "attention_weights", weights)
        require(
            len(weights) == NUM_FEATURES,
            f"agents.*.attention_weights must be {NUM_FEATURES} numbers, or "
            f"{NUM_FEATURES - len(UNWEIGHTED)} without {' and '.join(UNWEIGHTED)}",
            weights,
        )
        require(
            0 < temperature < math.inf,
            "agents.*.exploration_temperature must be finite and > 0",
            temperature,
        )
        require(
            self.learning_rate is None or 0 < self.learning_rate < math.inf,
            "agents.*.learning_rate must be finite and > 0",
            self.learning_rate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsConfig(StrictConfig):
    """The three agents."""

    fvg: AgentConfig = AgentConfig(
        attention_weights=(0.4, 0.4, 0.1, 0.05, 0.05, 0.05, 0.05), exploration_temperature=1.0
    )
    momentum: AgentConfig = AgentConfig(
        attention_weights=(0.05, 0.05, 0.1, 0.05, 0.05, 0.3, 0.5), exploration_temperature=1.2
    )
    entry: AgentConfig = AgentConfig(
        attention_weights=(0.2,) * NUM_FEATURES, exploration_temperature=0.8
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSection(RiskConfig):
    """The limits of each account, and those over the sum of a service's accounts.

    ``total_drawdown_limit``: share of the session's highest sum; None: with several symbols the
    largest ``session_drawdown_limit`` of their bundles, with one no limit of its own.
    ``total_daily_loss_limit``: share of the sum at the session's start; None: no limit.
    """

    total_drawdown_limit: float | None = None
    total_daily_loss_limit: float | None = None

    def __post_init__(self) -> None:
        RiskConfig.__post_init__(self)
        for name in ("total_drawdown_limit", "total_daily_loss_limit"):
            value = getattr(self, name)
            require(value is None or 0.0 < value <= 1.0, f"risk.{name} must be in (0, 1]", value)

    @property
    def of_account(self) -> RiskConfig:
        """The limits of each account, which bundles and backtests have."""
        return RiskConfig(**{name: getattr(self, name) for name in RiskConfig.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class TacticalConfig(StrictConfig):
    """The whole configuration. ``enabled`` is true: what is not wanted is not started."""

    enabled: bool = True
    model: ModelConfig = field(default_factory=ModelConfig)
    agents: AgentsConfig = field(default_factory=AgentsConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig.pnl_only)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    orders: OrderConfig = field(default_factory=OrderConfig)
    risk: RiskSection = field(default_factory=RiskSection)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    service: ServiceConfig = field(default_factory=ServiceConfig)

    def __post_init__(self) -> None:
        require(self.enabled, "enabled must be true", self.enabled)
        require(
            self.training.credit != "counterfactual" or self.model.actors == "separate",
            "model.actors must be separate with training.credit counterfactual (joint actors need "
            "all)",
            self.model.actors,
        )

    @property
    def learning_rates(self) -> dict[str, float]:
        """The actors' learning rates by agent, at the beginning of a run."""
        return {
            agent: self.actor_lr if rate is None else rate
            for agent, rate in self._own_rates.items()
        }

    @property
    def actor_lr(self) -> float:
        """The rate of agents without one of their own, at the beginning of a run.

        What pre-training has found is soon lost to the noise of the training bars at a high rate.
        """
        given, settings = self.training.actor_lr, self.counterfactual
        if given is not None:
            return given
        exact = self.training.credit == "counterfactual" and settings.pretraining_passes > 0
        return PRETRAINED_RATE if exact else RATE

    @property
    def shares_actor_lr(self) -> bool:
        """Whether some agent learns at ``training.actor_lr``."""
        return None in self._own_rates.values()

    @property
    def counterfactual(self) -> CounterfactualConfig:
        """The settings of exact credit; none pre-trains a warm start or a registered network."""
        settings = self.training.counterfactual
        if self.training.warm_start.path is None and self.model.network == ModelConfig().network:
            return settings
        return dataclasses.replace(settings, pretraining_passes=0.0)

    @property
    def _own_rates(self) -> dict[str, float | None]:
        return {agent: getattr(self.agents, agent).learning_rate for agent in AGENTS}

    @property
    def rules(self) -> Rules:
        """The rules that turn votes into orders."""
        return Rules(aggregation=self.aggregation, orders=self.orders, risk=self.risk.of_account)

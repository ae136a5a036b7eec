"""Configuration: one YAML file, frozen dataclasses, unknown keys rejected, one place for defaults.

``tactical.yaml`` at the top of the repository lists every key with its default; a test keeps it
equal to the dataclasses here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import NUM_FEATURES, StrictConfig
from rllib_tactical.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(StrictConfig):
    """The critic's size. The actors' shape is fixed by the specification.

    ``actors``: "separate" agents, or the three votes as one "joint" action of one agent, with one
    probability ratio and one advantage. ``critic``: "centralized" sees the global state (MAPPO);
    "independent" is one critic per agent that sees what its actor sees (IPPO). ``critic_heads``:
    one value per agent, or one shared V(s).
    """

    actors: Literal["separate", "joint"] = "separate"
    critic: Literal["centralized", "independent"] = "centralized"
    hidden_sizes: tuple[int, ...] = (512, 256, 128)
    dropout_rate: float = 0.0
    critic_heads: Literal["per_agent", "shared"] = "per_agent"

    def __post_init__(self) -> None:
        require(
            bool(self.hidden_sizes) and min(self.hidden_sizes) >= 1,
            "model.hidden_sizes must list layer widths >= 1",
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
    """One agent: initial attention weights of the seven features, and its temperature."""

    attention_weights: tuple[float, ...]
    exploration_temperature: float

    def __post_init__(self) -> None:
        weights, temperature = self.attention_weights, self.exploration_temperature
        require(
            len(weights) == NUM_FEATURES,
            f"agents.*.attention_weights must have {NUM_FEATURES} weights",
            len(weights),
        )
        require(
            all(map(math.isfinite, weights)), "agents.*.attention_weights must be finite", weights
        )
        require(
            0 < temperature < math.inf,
            "agents.*.exploration_temperature must be finite and > 0",
            temperature,
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
class TacticalConfig(StrictConfig):
    """The whole configuration."""

    model: ModelConfig = field(default_factory=ModelConfig)
    agents: AgentsConfig = field(default_factory=AgentsConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig.pnl_only)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    orders: OrderConfig = field(default_factory=OrderConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    service: ServiceConfig = field(default_factory=ServiceConfig)

    @property
    def rules(self) -> Rules:
        """The rules that turn votes into orders."""
        return Rules(aggregation=self.aggregation, orders=self.orders, risk=self.risk)

"""Configuration: one YAML file, frozen dataclasses, unknown keys rejected, one place for defaults.

``tactical.yaml`` at the top of the repository lists every key with its default; a test keeps it
equal to the dataclasses here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from rllib_tactical.config.training import (
    StageConfig,
    StopConfig,
    ValidationConfig,
    WarmStartConfig,
    check_curriculum,
)
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import NUM_FEATURES, StrictConfig
from rllib_tactical.errors import ConfigError, UnreadableError

ROOT_KEY = "tactical_marl"
MAX_TEMPERATURE_SCALE = 100.0

T = TypeVar("T")


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
    critic_hidden: tuple[int, ...] = (512, 256, 128)
    critic_dropout: float = 0.0
    critic_heads: Literal["per_agent", "shared"] = "per_agent"

    def __post_init__(self) -> None:
        if not self.critic_hidden or min(self.critic_hidden) < 1:
            raise ConfigError(
                f"model.critic_hidden must list layer widths >= 1, found {self.critic_hidden!r}"
            )
        if not 0.0 <= self.critic_dropout < 1.0:
            raise ConfigError(
                f"model.critic_dropout must be in [0, 1), found {self.critic_dropout!r}"
            )
        if self.critic == "independent" and self.critic_heads == "shared":
            raise ConfigError(
                "model.critic_heads must be per_agent when model.critic is independent"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(StrictConfig):
    """One agent: initial attention weights of the seven features, and its temperature."""

    attention: tuple[float, ...]
    temperature: float

    def __post_init__(self) -> None:
        if len(self.attention) != NUM_FEATURES:
            raise ConfigError(
                f"agents.*.attention must have {NUM_FEATURES} weights, found {len(self.attention)}"
            )
        if not all(map(math.isfinite, self.attention)):
            raise ConfigError(f"agents.*.attention must be finite, found {self.attention!r}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(
                f"agents.*.temperature must be finite and > 0, found {self.temperature!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsConfig(StrictConfig):
    """The three agents."""

    fvg: AgentConfig = AgentConfig(
        attention=(0.4, 0.4, 0.1, 0.05, 0.05, 0.05, 0.05), temperature=1.0
    )
    momentum: AgentConfig = AgentConfig(
        attention=(0.05, 0.05, 0.1, 0.05, 0.05, 0.3, 0.5), temperature=1.2
    )
    entry: AgentConfig = AgentConfig(attention=(0.2,) * NUM_FEATURES, temperature=0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(StrictConfig):
    """MAPPO and the run around it.

    ``batch_size`` account steps are sampled per iteration by ``num_env_runners`` Ray actors (0: in
    the driver) that step ``num_envs`` accounts each, and learnt from for ``epochs`` passes in
    minibatches. ``credit``: the policy gradient counts every vote, or only those that decided
    something. ``trace``: returns reach to the end of the episode, or of the trade; beyond it stands
    the critic's value. ``actor_lr`` and ``entropy_coefficient`` change linearly over
    ``iterations``, to their ``end_factor`` times what they were. ``accounts_per_bar`` accounts
    replay the same bars side by side: an actor's output depends on the bar only, so they share its
    forward and backward pass. ``train_confidence`` is the confidence with which every sampled vote
    counts. ``precision`` is that of the learner's matrix products; ``learner_gpus`` GPUs are given
    to each learner. ``splits`` are the shares of the bars for training, validation and test.

    A checkpoint is written every ``checkpoint_every`` iterations or ``checkpoint_episodes`` ended
    episodes, whichever is first, and with every evaluation; the last ``keep_checkpoints`` and the
    best are kept. ``record_rollouts`` writes every sampled step to Parquet files in the run folder.
    """

    iterations: int = 100
    seed: int = 0
    actor_lr: float = 1e-3
    actor_lr_end_factor: float = 0.0
    critic_lr: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    credit: Literal["all", "decisive"] = "decisive"
    trace: Literal["episode", "trade"] = "trade"
    clip: float = 0.2
    entropy_coefficient: float = 0.01
    entropy_end_factor: float = 1.0
    value_coefficient: float = 0.5
    grad_norm: float = 0.5
    epochs: int = 4
    batch_size: int = 8192
    minibatch_size: int = 2048
    num_env_runners: int = 1
    num_envs: int = 128
    accounts_per_bar: int = 8
    num_learners: int = 0
    learner_gpus: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    train_confidence: float = 1.0
    episodes: EpisodeConfig = field(default_factory=EpisodeConfig)
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15)
    temperature_scales: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
    checkpoint_every: int = 10
    checkpoint_episodes: int = 1000
    keep_checkpoints: int = 10
    evaluation: ValidationConfig = field(default_factory=ValidationConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    curriculum: tuple[StageConfig, ...] = ()
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    record_rollouts: bool = False

    def __post_init__(self) -> None:
        for name in (
            "iterations",
            "epochs",
            "batch_size",
            "minibatch_size",
            "num_envs",
            "accounts_per_bar",
            "checkpoint_every",
            "checkpoint_episodes",
            "keep_checkpoints",
        ):
            _require(getattr(self, name) >= 1, f"training.{name} must be >= 1", getattr(self, name))
        for name in ("seed", "num_env_runners", "num_learners", "learner_gpus"):
            _require(getattr(self, name) >= 0, f"training.{name} must be >= 0", getattr(self, name))
        for name in ("actor_lr", "critic_lr", "clip", "grad_norm"):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"training.{name} must be finite and > 0", value)
        for name in ("entropy_coefficient", "value_coefficient"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, f"training.{name} must be finite and >= 0", value)
        for name in ("actor_lr_end_factor", "entropy_end_factor"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"training.{name} must be in 0..1", value)
        for name in ("gamma", "gae_lambda", "train_confidence"):
            _require(
                0 < getattr(self, name) <= 1,
                f"training.{name} must be in (0, 1]",
                getattr(self, name),
            )
        _require(
            self.minibatch_size <= self.batch_size,
            "training.minibatch_size must not exceed training.batch_size",
            (self.minibatch_size, self.batch_size),
        )
        _require(
            self.minibatch_size % self.accounts_per_bar == 0,
            "training.minibatch_size must be a multiple of accounts_per_bar "
            f"({self.accounts_per_bar})",
            self.minibatch_size,
        )
        _require(
            self.num_envs % self.accounts_per_bar == 0,
            f"training.num_envs must be a multiple of accounts_per_bar ({self.accounts_per_bar})",
            self.num_envs,
        )
        accounts = self.num_envs * max(1, self.num_env_runners)
        _require(
            self.batch_size % accounts == 0,
            f"training.batch_size must be a multiple of num_envs x num_env_runners ({accounts})",
            self.batch_size,
        )
        _require(
            min(self.splits) >= 0 and self.splits[0] > 0 and abs(sum(self.splits) - 1) < 1e-9,
            "training.splits must be shares that sum to 1, the first > 0",
            self.splits,
        )
        _require(
            bool(self.temperature_scales)
            and all(0 < scale <= MAX_TEMPERATURE_SCALE for scale in self.temperature_scales),
            f"training.temperature_scales must list values in (0, {MAX_TEMPERATURE_SCALE:g}]",
            self.temperature_scales,
        )
        check_curriculum(self.curriculum)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceConfig(StrictConfig):
    """Latency budgets of a decision in milliseconds; every breach is counted."""

    matrix_ms: float = 10.0
    inference_ms: float = 30.0
    aggregation_ms: float = 5.0
    total_ms: float = 100.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            _require(
                getattr(self, name) > 0, f"performance.{name} must be > 0", getattr(self, name)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig(StrictConfig):
    """The decision service.

    A replica decides on its copy of the risk state for ``lease_s`` after it last heard from the
    coordinator of that state, which it polls every ``poll_s``. ``inference_timeout_ms``: actors
    that take longer are replaced by the rule-based votes. ``live_bars``: bars are of now, so that
    their age counts from their close; for replays from their arrival. Decisions by symbol hold when
    the last bar is older than ``max_bar_age_s`` beyond a bar's length, and for
    ``hold_bars_after_gap`` bars after missing ones. ``reload_timeout_s``: what replicas have to
    load another bundle. ``write_timeout_s``: how long a write may wait for the coordinator.
    """

    lease_s: float = 2.0
    poll_s: float = 0.5
    inference_timeout_ms: float = 50.0
    live_bars: bool = True
    max_bar_age_s: float = 300.0
    hold_bars_after_gap: int = 5
    reload_timeout_s: float = 60.0
    write_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        for name in (
            "lease_s",
            "poll_s",
            "inference_timeout_ms",
            "max_bar_age_s",
            "reload_timeout_s",
            "write_timeout_s",
        ):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"service.{name} must be finite and > 0", value)
        _require(
            self.poll_s <= self.lease_s / 2,
            f"service.poll_s must be at most half of lease_s ({self.lease_s:g})",
            self.poll_s,
        )
        _require(
            self.hold_bars_after_gap >= 0,
            "service.hold_bars_after_gap must be >= 0",
            self.hold_bars_after_gap,
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


def _require(condition: bool, rule: str, found: object) -> None:
    if not condition:
        raise ConfigError(f"{rule}, found {found!r}")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration dataclass as plain lists, numbers and strings."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def content_hash(config: Any) -> str:
    """Return the SHA-256 (hex) of a configuration dataclass or a JSON-able value."""
    plain = to_dict(config) if dataclasses.is_dataclass(config) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def parse_config(values: Any, source: str) -> TacticalConfig:
    """Build the configuration from parsed YAML: ``{tactical_marl: {section: {key: value}}}``.

    ``rewards`` may also be the name of a preset: ``full`` or ``pnl_only``.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    if not isinstance(values, dict) or set(values) != {ROOT_KEY}:
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise ConfigError(f"{source}: one top-level key {ROOT_KEY} is required, found {found}")
    sections = values[ROOT_KEY] or {}
    if isinstance(sections, dict):
        rewards = sections.get("rewards")
        if isinstance(rewards, str):
            sections = {**sections, "rewards": to_dict(reward_preset(rewards))}
        elif isinstance(rewards, dict):  # a part of the section keeps the rest of the default
            default = to_dict(TacticalConfig().rewards)
            sections = {**sections, "rewards": {**default, **rewards}}
    return from_dict(TacticalConfig, sections, source)


def reward_preset(name: str) -> RewardConfig:
    """Return the rewards of a preset name.

    Raises:
        ConfigError: no preset has that name.
    """
    presets = {"full": RewardConfig(), "pnl_only": RewardConfig.pnl_only()}
    if name not in presets:
        raise ConfigError(f"rewards: presets are {sorted(presets)}, found {name!r}")
    return presets[name]


def from_dict(kind: type[T], values: Any, source: str) -> T:
    """Build a frozen configuration dataclass from plain values, strictly.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    try:
        # JSON mode accepts lists for tuples but still no text for numbers
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "value"
        found = first.get("input")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {place}: {first['msg']}, found {found!r}{more}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from error


def load_config(path: Path | None) -> TacticalConfig:
    """Read a configuration file; None gives the defaults.

    Raises:
        UnreadableError: the file cannot be read or is not YAML.
        ConfigError: see ``parse_config``.
    """
    if path is None:
        return TacticalConfig()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableError(f"{path}: not a readable YAML file: {error}") from error
    return parse_config(values, str(path))

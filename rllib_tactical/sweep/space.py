"""The search space: for keys of the configuration, what is tried.

A key is that of ``tactical.yaml``, such as ``training.actor_lr``; its domain one of

    {uniform: [low, high]}      {log_uniform: [low, high]}      {integer: [low, high]}
    {choice: [...]}             any values the key takes; ends of a range are included
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rllib_tactical.config.loader import from_dict, reward_preset, to_dict
from rllib_tactical.config.schema import REPLACED_BY, TacticalConfig
from rllib_tactical.config.version1 import current_setting
from rllib_tactical.errors import ConfigError

KINDS: Final = ("uniform", "log_uniform", "integer", "choice")
REWARDS: Final = "rewards"

FIXED: Final = {
    "training.iterations": "all trials of a sweep have as many; set it in config",
    "training.splits": "trials are compared on the same validation bars",
    "training.num_env_runners": "all trials of a sweep get the same resources",
    "training.num_learners": "all trials of a sweep get the same resources",
    "training.learner_gpus": "all trials of a sweep get the same resources",
    "training.checkpoint_every": "trials are compared at the same iterations",
    "training.checkpoint_episodes": "trials are compared at the same iterations",
    "training.keep_checkpoints": "it decides nothing",
    "training.validation": "trials are compared at the same iterations",
    "training.curriculum": "trials are compared on the same bars",
    "training.warm_start": "set it in config",
    "training.record_rollouts": "it decides nothing",
    "training.stop": "set it in config",
    "performance": "it does not take part in training",
    "service": "it does not take part in training",
    "risk.initial_equity": "results of other accounts cannot be compared",
}

SHAPES: Final = (
    "model.",
    "training.steps_per_update",
    "training.episodes_per_update",
    "training.batch_size",
    "training.num_envs",
    "training.accounts_per_bar",
    "training.precision",
    "training.seed",
    "training.temperature_scales",
    "agents.fvg.attention_weights",
    "agents.momentum.attention_weights",
    "agents.entry.attention_weights",
)
"""Keys that cannot change in the middle of a trial, as population based training would do."""

TRIED: Final = 32
"""Most values of a choice of which each is tried on the configuration before the sweep begins."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What is tried for one key: ``kind`` one of KINDS; ``values`` the two ends, or the choices."""

    key: str
    kind: str
    values: tuple[Any, ...]

    def sampled(self) -> Any:
        """Return the domain as Ray Tune's."""
        from ray import tune

        low, high = self.values[0], self.values[-1]
        if self.kind == "uniform":
            return tune.uniform(low, high)
        if self.kind == "log_uniform":
            return tune.loguniform(low, high)
        if self.kind == "integer":
            return tune.randint(low, high + 1)
        return tune.choice(self.codes)

    @property
    def codes(self) -> list[Any]:
        """The choices as values that search algorithms take: lists and the like as JSON."""
        return [_code(value) for value in self.values]

    def decode(self, value: Any) -> Any:
        """Return the value of a setting that a sampled one represents."""
        if self.kind == "integer":
            return int(value)
        if self.kind != "choice":
            return float(value)
        codes = self.codes
        if value not in codes:
            raise ConfigError(f"space.{self.key}: {value!r} is none of its choices")
        return self.values[codes.index(value)]

    def clipped(self, value: Any) -> Any:
        """Return a changed value brought back between the ends."""
        if self.kind == "choice":
            return value
        kept = min(max(value, self.values[0]), self.values[-1])
        return round(kept) if self.kind == "integer" else kept


@dataclass(frozen=True, slots=True)
class Space:
    """The domains of a sweep by key; ``version1``: the keys are names of version 1."""

    domains: tuple[Domain, ...]
    version1: bool = False

    @classmethod
    def parse(cls, values: dict[str, Any], version1: bool = False) -> Space:
        """Build the space from plain values.

        Raises:
            ConfigError: empty, or a domain is none; the message names the key.
        """
        if not values:
            raise ConfigError("space must name at least one key with what is tried")
        return cls(tuple(_domain(key, value) for key, value in values.items()), version1)

    def check(self, config: TacticalConfig, search: str, scheduler: str) -> None:
        """Refuse what cannot be swept, and values that a configuration would not take.

        Raises:
            ConfigError: the message names the key.
        """
        if scheduler == "pbt" and search != "random":
            raise ConfigError(f"scheduler pbt needs search random, found {search!r}")
        keys = {self._today(domain.key) for domain in self.domains}
        for domain in self.domains:
            key = self._today(domain.key)
            others = REPLACED_BY.get(key)
            if others is not None and keys.issuperset(others):
                raise ConfigError(f"space.{key} has no effect beside {', '.join(others)}")
            for fixed, reason in FIXED.items():
                if key == fixed or key.startswith(f"{fixed}."):
                    raise ConfigError(f"space.{key} cannot be swept: {reason}")
            if scheduler == "pbt" and key.startswith(SHAPES):
                raise ConfigError(f"space.{key} cannot change within a trial, as pbt would do")
            if search == "grid" and domain.kind != "choice":
                raise ConfigError(
                    f"space.{key} must be a choice with search grid, found {domain.kind}"
                )
            for value in domain.values[:TRIED]:
                try:
                    tried = value if domain.kind == "choice" else domain.decode(value)
                    self._with(config, {domain.key: tried})
                except ConfigError as error:
                    raise ConfigError(f"space.{key}: {error}") from error

    @property
    def grid_size(self) -> int:
        """How many combinations of choices there are."""
        return math.prod(len(domain.values) for domain in self.domains)

    def tune_space(self, grid: bool) -> dict[str, Any]:
        """Return the space as Ray Tune takes it, by key."""
        if grid:
            return {d.key: {"grid_search": d.codes} for d in self.domains}
        return {d.key: d.sampled() for d in self.domains}

    def mutations(self) -> dict[str, Any]:
        """Return what population based training draws anew from, by key."""
        return {d.key: d.codes if d.kind == "choice" else d.sampled() for d in self.domains}

    def clip(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return a function that brings changed values back into their domains."""
        domains = self.domains

        def clipped(params: dict[str, Any]) -> dict[str, Any]:
            return params | {d.key: d.clipped(params[d.key]) for d in domains}

        return clipped

    def decoded(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return sampled values as values of the configuration, by key."""
        return {d.key: d.decode(params[d.key]) for d in self.domains}

    def applied(self, config: TacticalConfig, params: dict[str, Any]) -> TacticalConfig:
        """Return the configuration of the trial with these sampled values.

        Raises:
            ConfigError: the values do not go together.
        """
        return self._with(config, self.decoded(params))

    def _today(self, key: str) -> str:
        return current_setting(key, None)[0] if self.version1 else key

    def _with(self, config: TacticalConfig, values: dict[str, Any]) -> TacticalConfig:
        if self.version1:
            values = dict(current_setting(key, value) for key, value in values.items())
        return _with(config, values)


def _domain(key: str, value: Any) -> Domain:
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in KINDS:
        raise ConfigError(
            f"space.{key} must be one of {', '.join(KINDS)} with values, found {value!r}"
        )
    kind, values = next(iter(value.items()))
    if not isinstance(values, list) or len(values) < (1 if kind == "choice" else 2):
        raise ConfigError(f"space.{key}.{kind} must be a list of values, found {values!r}")
    if kind == "choice":
        if len({json.dumps(each, sort_keys=True) for each in values}) < len(values):
            raise ConfigError(f"space.{key}.choice names a value twice, found {values!r}")
        return Domain(key, kind, tuple(values))
    wanted = int if kind == "integer" else (int, float)
    if any(isinstance(each, bool) or not isinstance(each, wanted) for each in values):
        raise ConfigError(
            f"space.{key}.{kind} must be two {'whole ' if kind == 'integer' else ''}numbers "
            f"(without quotes), found {values!r}"
        )
    if len(values) != 2 or not values[0] < values[1] or not all(map(math.isfinite, values)):
        raise ConfigError(f"space.{key}.{kind} must be [low, high], low < high, found {values!r}")
    if kind == "log_uniform" and values[0] <= 0:
        raise ConfigError(f"space.{key}.log_uniform must begin above 0, found {values!r}")
    return Domain(key, kind, tuple(values))


def _code(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, sort_keys=True)


def _with(config: TacticalConfig, values: dict[str, Any]) -> TacticalConfig:
    """Return the configuration with other values at keys such as ``training.actor_lr``."""
    plain = to_dict(config)
    # a preset first, so that a weight named beside it counts
    for key, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        if key == REWARDS and isinstance(value, str):
            plain[REWARDS] = to_dict(reward_preset(value))
            continue
        *path, last = key.split(".")
        place = _place(plain, path)
        if not isinstance(place, dict) or last not in place or not path:
            raise ConfigError(f"{key} is not a key of the configuration (see tactical.yaml)")
        place[last] = value
        for other in REPLACED_BY.get(key, ()):
            if other not in values:
                *path, last = other.split(".")
                _place(plain, path)[last] = None
    return from_dict(TacticalConfig, plain, "trial")


def _place(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    return values

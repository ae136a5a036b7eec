"""What a sweep is: a YAML file, frozen dataclasses, unknown keys rejected.

tactical_sweep:
  search: random            # random, optuna or grid
  scheduler: asha           # none, asha or pbt
  samples: 16
  config: {...}             # sections of tactical.yaml: what all trials have in common
  space:                    # key of tactical.yaml: what is tried
    training.actor_lr: {log_uniform: [0.0001, 0.003]}
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rllib_tactical.config.loader import (
    Hint,
    build_config,
    content_hash,
    from_dict,
    merged_sections,
    print_hint,
    renamed_sections,
    sections_of,
    to_dict,
)
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import MAX_SEED
from rllib_tactical.config.version1 import (
    RENAMED,
    REUSED,
    SUBTRACTED,
    is_version1,
    with_current_names,
)
from rllib_tactical.config.yaml12 import read_yaml
from rllib_tactical.domain.types import StrictConfig
from rllib_tactical.errors import ConfigError, require
from rllib_tactical.sweep.space import Space

ROOT_KEY: Final = "tactical_sweep"

MAY_DIFFER: Final = ("samples", "max_concurrent", "max_failures", "time_budget_s", "description")
"""What a resumed sweep may have otherwise than it began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AshaConfig(StrictConfig):
    """Successive halving: of the trials that reach a rung, one in ``reduction`` goes on.

    The first rung is at ``grace`` iterations, each next one at ``reduction`` times as many.
    """

    grace: int = 1
    reduction: float = 3.0

    def __post_init__(self) -> None:
        require(self.grace >= 1, "asha.grace must be >= 1", self.grace)
        require(self.reduction > 1, "asha.reduction must be > 1", self.reduction)


@dataclass(frozen=True, slots=True, kw_only=True)
class PbtConfig(StrictConfig):
    """Population based training: every ``interval`` iterations the worst learn from the best.

    The worst ``quantile`` of the trials take weights and settings of one of the best ``quantile``;
    each setting is then drawn anew with ``resample``, else multiplied by one of ``factors``
    (choices move to a neighbor).
    """

    interval: int = 4
    quantile: float = 0.25
    resample: float = 0.25
    factors: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        require(self.interval >= 1, "pbt.interval must be >= 1", self.interval)
        require(0 < self.quantile <= 0.5, "pbt.quantile must be in (0, 0.5]", self.quantile)
        require(0 <= self.resample <= 1, "pbt.resample must be in [0, 1]", self.resample)
        require(min(self.factors) > 0, "pbt.factors must be > 0", self.factors)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec(StrictConfig):
    """A sweep. ``config``: the settings that all trials have in common; ``space``: what is tried.

    ``samples`` is the number of trials; with ``search: grid``, how often the whole grid is tried.
    ``seed`` is that of the search; every trial trains with ``config``'s own seed, unless
    ``training.seed`` is in the space. ``names``: the version of the program whose names are the
    keys of the space, which stay as they were when values were drawn for them. ``max_concurrent``
    trials run at a time, or as many as there are resources for. A trial whose process or node is
    lost begins again from its newest checkpoint, ``max_failures`` times. No trial is begun after
    ``time_budget_s``.
    """

    search: Literal["random", "optuna", "grid"] = "random"
    scheduler: Literal["none", "asha", "pbt"] = "none"
    description: str = ""
    samples: int = 8
    seed: int = 0
    max_concurrent: int | None = None
    max_failures: int = 3
    time_budget_s: float | None = None
    asha: AshaConfig = field(default_factory=AshaConfig)
    pbt: PbtConfig = field(default_factory=PbtConfig)
    config: TacticalConfig = field(default_factory=TacticalConfig)
    names: int = 2
    space: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.names in (1, 2), "names must be 1 or 2", self.names)
        require(self.samples >= 1, "samples must be >= 1", self.samples)
        require(0 <= self.seed <= MAX_SEED, f"seed must be in 0..{MAX_SEED}", self.seed)
        require(self.max_failures >= 0, "max_failures must be >= 0", self.max_failures)
        if self.max_concurrent is not None:
            require(self.max_concurrent >= 1, "max_concurrent must be >= 1", self.max_concurrent)
        if self.time_budget_s is not None:
            require(self.time_budget_s > 0, "time_budget_s must be > 0", self.time_budget_s)
        training = self.config.training
        require(
            training.splits[1] > 0,
            "config.training.splits must leave bars for validation, which scores the trials",
            training.splits,
        )
        self.domains.check(self.config, self.search, self.scheduler)
        if self.scheduler == "asha":
            require(
                self.asha.grace <= training.iterations,
                f"asha.grace must not exceed config.training.iterations ({training.iterations})",
                self.asha.grace,
            )
        if self.scheduler == "pbt":
            require(self.samples >= 2, "samples must be >= 2 with scheduler pbt", self.samples)
            require(
                self.pbt.interval < training.iterations,
                f"pbt.interval must be below config.training.iterations ({training.iterations})",
                self.pbt.interval,
            )
            require(
                training.checkpoint_every <= self.pbt.interval
                and self.pbt.interval % training.checkpoint_every == 0,
                "pbt.interval must be a multiple of config.training.checkpoint_every "
                f"({training.checkpoint_every}): results come with checkpoints",
                self.pbt.interval,
            )

    @property
    def domains(self) -> Space:
        """The search space."""
        return Space.parse(self.space, version1=self.names == 1)

    @property
    def trials(self) -> int:
        """How many trials the sweep has."""
        return self.samples * (self.domains.grid_size if self.search == "grid" else 1)

    def describe(self) -> dict[str, Any]:
        """Return the sweep as plain values."""
        return to_dict(self)

    def identity(self) -> str:
        """Return the hash of everything that a resumed sweep must have as it began."""
        plain = {key: value for key, value in self.describe().items() if key not in MAY_DIFFER}
        return content_hash(plain)


def parse_sweep(values: Any, source: str, hint: Hint | None = None, base: Any = None) -> SweepSpec:
    """Build a sweep from parsed YAML.

    Args:
        values: the parsed YAML.
        source: what an error calls it.
        hint: shows a line to the user: names of version 1, a setting without effect.
        base: sections of a configuration that hold where the sweep's own ``config`` says nothing.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    if not isinstance(values, dict) or set(values) != {ROOT_KEY}:
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise ConfigError(f"{source}: one top-level key {ROOT_KEY} is required, found {found}")
    sections = values[ROOT_KEY] or {}
    if not isinstance(sections, dict):
        raise ConfigError(f"{source}: {ROOT_KEY} must hold keys, found {sections!r}")
    config, space = sections.get("config") or {}, sections.get("space")
    old = {key: RENAMED[key] for key in space if key in RENAMED} if isinstance(space, dict) else {}
    version1 = sections.get("names") == 1 or is_version1(config) or bool(set(old) - {REUSED})
    config = renamed_sections(config, f"{source}: config", hint, version1)
    config = build_config(merged_sections(base or {}, config), f"{source}: config", hint)
    sections = {**sections, "config": to_dict(config), "names": 1 if version1 else 2}
    old |= {key: "numbers <= 0, added" for key in SUBTRACTED if key in (space or {})}
    if version1 and old and hint is not None:
        renamed = ", ".join(f"{key} -> {new}" for key, new in old.items())
        hint(f"{source}: space: names of version 1, please rename: {renamed}")
    return from_dict(SweepSpec, sections, source)


def recorded_sweep(plan: dict[str, Any], source: str) -> SweepSpec:
    """Build the sweep that a sweep's folder recorded, in any version.

    Raises:
        ConfigError: it has settings that this version does not know.
    """
    values = plan["sweep"]
    config, renamed = with_current_names(values["config"], source)
    if renamed:
        values = {**values, "config": config, "names": 1}
    return from_dict(SweepSpec, values, source)


def load_sweep(path: Path, hint: Hint = print_hint, config: Path | None = None) -> SweepSpec:
    """Read a sweep file.

    Args:
        path: the sweep's file.
        hint: shows a line to the user.
        config: a configuration's file, which holds where the sweep says nothing.

    Raises:
        UnreadableError: a file cannot be read or is not YAML.
        ConfigError: see ``parse_sweep``.
    """
    base = None if config is None else sections_of(read_yaml(config), str(config), hint)
    if base is not None:
        build_config(base, str(config))  # names the file that a fault is in
    return parse_sweep(read_yaml(path), str(path), hint, base)


def with_changes(spec: SweepSpec, training: dict[str, Any], **changes: Any) -> SweepSpec:
    """Return the sweep with other settings where they are not None.

    Raises:
        ConfigError: they do not fit the sweep.
    """
    training = {key: value for key, value in training.items() if value is not None}
    config = dataclasses.replace(
        spec.config, training=dataclasses.replace(spec.config.training, **training)
    )
    changes = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(spec, config=config, **changes)

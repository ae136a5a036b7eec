"""Read and write configurations: YAML files, plain values, hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.version1 import with_current_names
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError, UnreadableError

ROOT_KEY = "tactical_marl"

T = TypeVar("T")

Hint = Callable[[str], None]
"""Shows a line to the user."""


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration dataclass as plain lists, numbers and strings."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def content_hash(config: Any) -> str:
    """Return the SHA-256 (hex) of a configuration dataclass or a JSON-able value."""
    plain = to_dict(config) if dataclasses.is_dataclass(config) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def parse_config(
    values: Any, source: str, hint: Hint | None = None, version1: bool | None = None
) -> TacticalConfig:
    """Build the configuration from parsed YAML: ``{tactical_marl: {section: {key: value}}}``.

    ``rewards`` may also be the name of a preset: ``full`` or ``pnl_only``. Names of version 1 are
    taken too.

    Args:
        values: the parsed YAML.
        source: what an error calls it.
        hint: is told which names of version 1 were read.
        version1: whether the names are those of version 1; None: if one of them says so.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    if not isinstance(values, dict) or set(values) != {ROOT_KEY}:
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise ConfigError(f"{source}: one top-level key {ROOT_KEY} is required, found {found}")
    sections, renamed = with_current_names(values[ROOT_KEY] or {}, source, version1)
    if renamed and hint is not None:
        hint(f"{source}: names of version 1, please rename: {', '.join(renamed)}")
    if isinstance(sections, dict):
        rewards = sections.get("rewards")
        if isinstance(rewards, str):
            sections = {**sections, "rewards": to_dict(reward_preset(rewards))}
        elif isinstance(rewards, dict):  # a part of the section keeps the rest of the default
            default = to_dict(TacticalConfig().rewards)
            sections = {**sections, "rewards": {**default, **rewards}}
    return from_dict(TacticalConfig, sections, source)


def recorded_config(sections: Any, source: str) -> TacticalConfig:
    """Build the configuration that a run folder, a bundle or a sweep recorded, in any version.

    Raises:
        ConfigError: it has settings that this version does not know.
    """
    return from_dict(TacticalConfig, with_current_names(sections, source)[0], source)


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


def print_hint(text: str) -> None:
    """Print a line to standard error, where it is in the way of no program's output."""
    print(f"note: {text}", file=sys.stderr)


def load_config(path: Path | None, hint: Hint = print_hint) -> TacticalConfig:
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
    return parse_config(values, str(path), hint)

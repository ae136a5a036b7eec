"""Read and write configurations: YAML files, plain values, hashes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import reprlib
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rllib_tactical.config.schema import REPLACED_BY, TacticalConfig
from rllib_tactical.config.version1 import is_version1, with_current_names
from rllib_tactical.config.yaml12 import read_yaml
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError

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


def parse_config(values: Any, source: str, hint: Hint | None = None) -> TacticalConfig:
    """Build the configuration from parsed YAML: ``{tactical_marl: {section: {key: value}}}``.

    Args:
        values: the parsed YAML.
        source: what an error calls it.
        hint: shows a line to the user: names of version 1, a setting without effect.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    return build_config(sections_of(values, source, hint), source, hint)


def sections_of(values: Any, source: str, hint: Hint | None = None) -> Any:
    """Return the sections of parsed YAML with today's names.

    Raises:
        ConfigError: the file's one key is missing, or a setting is given by its old and new name.
    """
    if not isinstance(values, dict) or set(values) != {ROOT_KEY}:
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise ConfigError(f"{source}: one top-level key {ROOT_KEY} is required, found {found}")
    return renamed_sections(values[ROOT_KEY] or {}, source, hint)


def renamed_sections(
    sections: Any, source: str, hint: Hint | None = None, version1: bool | None = None
) -> Any:
    """Return sections with today's names (``with_current_names``) and their version's credit."""
    version1 = is_version1(sections) if version1 is None else version1
    sections, renamed = with_current_names(sections, source, version1)
    if version1:
        sections = _with_credit(sections)
    if renamed and hint is not None:
        hint(f"{source}: names of version 1, please rename: {', '.join(renamed)}")
    return sections


def build_config(sections: Any, source: str, hint: Hint | None = None) -> TacticalConfig:
    """Build the configuration from a user's sections.

    ``rewards`` may be the name of a preset, ``full`` or ``pnl_only``. What is not given has its
    default.

    Raises:
        ConfigError: an unknown key, a wrong type or a broken rule; the message names the key.
    """
    if isinstance(sections, dict):
        rewards = sections.get("rewards")
        if isinstance(rewards, str):
            sections = {**sections, "rewards": to_dict(reward_preset(rewards))}
        # a part of these keeps the rest of the default, which is not that of the class
        sections = _filled(sections, "rewards", to_dict(TacticalConfig().rewards))
        if isinstance(sections.get("agents"), dict):
            agents = sections["agents"]
            for agent, default in to_dict(TacticalConfig().agents).items():
                agents = _filled(agents, agent, default)
            sections = {**sections, "agents": agents}
    config = from_dict(TacticalConfig, sections, source)
    given = (sections.get("training") or {}).get("actor_lr") is not None
    if hint is not None and given and not config.shares_actor_lr:
        hint(f"{source}: training.actor_lr has no effect: every agent has its own learning_rate")
    return config


def merged_sections(base: Any, changes: Any) -> Any:
    """Return sections of a configuration with other values where ``changes`` has some.

    What ``changes`` says in one of two ways is not said in the other way by ``base``: see
    ``REPLACED_BY``.
    """
    for key, others in REPLACED_BY.items():
        section, name = key.split(".")
        if isinstance(changes, dict) and name in (changes.get(section) or {}):
            for other in others:
                base = _without(base, other.split("."))
    return _merged(base, changes)


def _merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: _merged(base.get(key), changes[key]) for key in changes}}


def _without(values: Any, path: list[str]) -> Any:
    if not isinstance(values, dict) or path[0] not in values:
        return values
    if len(path) == 1:
        return {key: value for key, value in values.items() if key != path[0]}
    return {**values, path[0]: _without(values[path[0]], path[1:])}


def _filled(sections: dict[str, Any], name: str, default: dict[str, Any]) -> dict[str, Any]:
    """Return sections with one of them filled up with defaults, if it is there."""
    given = sections.get(name)
    return {**sections, name: {**default, **given}} if isinstance(given, dict) else sections


def _with_credit(sections: Any) -> Any:
    """Return sections that credit sampled votes if they say nothing: nothing else was known."""
    return (
        _filled(sections, "training", {"credit": "decisive"})
        if isinstance(sections, dict)
        else sections
    )


def recorded_config(sections: Any, source: str) -> TacticalConfig:
    """Build the configuration that a run folder, a bundle or a sweep recorded, in any version.

    What does not say how votes were credited was made when only sampled credit was known.

    Raises:
        ConfigError: it has settings that this version does not know.
    """
    found, _ = with_current_names(sections, source)
    return from_dict(TacticalConfig, _with_credit(found), source)


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
    key: Any = kind
    adapter = _adapter(key)
    try:
        # JSON mode accepts lists for tuples but still no text for numbers
        found: T = adapter.validate_json(json.dumps(values), strict=True)
        return found
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{source}: {'; '.join(map(_described, error.errors()))}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from error


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _described(fault: Any) -> str:
    """Return one fault that pydantic found, with a hint where YAML is the likely cause."""
    place = ".".join(str(part) for part in fault["loc"]) or "value"
    found = fault["input"]
    text = f"{place}: {fault['msg']}, found {reprlib.repr(found)}"
    if fault["type"] == "string_type" and isinstance(found, int | float):
        return f"{text} (put text that looks like a number or a truth value in quotes)"
    if fault["type"] == "bool_type" and isinstance(found, str):
        return f"{text} (write true or false)"
    return text


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
    return parse_config(read_yaml(path), str(path), hint)

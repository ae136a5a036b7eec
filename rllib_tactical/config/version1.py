"""Names that settings had in version 1, and what they became.

Files of a user are read with a hint. What the program itself wrote then (run folders, sweeps) is
read silently.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from rllib_tactical.domain.simulation.rewards import PENALTIES
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ConfigError

RENAMED: Final = {
    "model.critic_hidden": "model.hidden_sizes",
    "model.critic_dropout": "model.dropout_rate",
    **{f"agents.{agent}.attention": f"agents.{agent}.attention_weights" for agent in AGENTS},
    **{
        f"agents.{agent}.temperature": f"agents.{agent}.exploration_temperature" for agent in AGENTS
    },
    "training.clip": "training.clip_ratio",
    "training.value_coefficient": "training.value_loss_coef",
    "training.entropy_coefficient": "training.entropy_coef",
    "training.grad_norm": "training.max_grad_norm",
    "training.evaluation": "training.validation",
    # in this order: the old batch_size gives its name to the old minibatch_size
    "training.batch_size": "training.steps_per_update",
    "training.minibatch_size": "training.batch_size",
    "performance.matrix_ms": "performance.latency_targets.matrix_ms",
    "performance.inference_ms": "performance.latency_targets.inference_ms",
    "performance.aggregation_ms": "performance.latency_targets.aggregation_ms",
    "performance.total_ms": "performance.latency_targets.total_pipeline_ms",
}
"""Key of version 1: key of today."""

MOVED: Final = {"service.hold_bars_after_gap": "risk.hold_bars_after_gap"}
"""Settings of version 1 and later that moved: they tell nothing about the version."""

REUSED: Final = "training.batch_size"
"""The one name of version 1 that means something else today."""


SUBTRACTED: Final = tuple(f"rewards.{name}" for name in PENALTIES)
"""Settings that were subtracted in version 1 and are added today."""


def is_version1(sections: Any) -> bool:
    """Return whether sections of a configuration have a name that only version 1 had."""
    return any(_holds(sections, old) for old in RENAMED if old != REUSED)


def with_current_names(
    sections: Any, source: str, version1: bool | None = None
) -> tuple[Any, list[str]]:
    """Return sections of a configuration with today's names, and what was renamed.

    Args:
        sections: plain values by section; left as they are.
        source: what an error calls them.
        version1: whether they are of version 1; None: if one of their names says so.

    Returns:
        The sections, and the renamed keys as "old -> new".

    Raises:
        ConfigError: a key is given by both names.
    """
    version1 = is_version1(sections) if version1 is None else version1
    names = {**RENAMED, **MOVED} if version1 else MOVED
    if not version1 and not any(_holds(sections, old) for old in MOVED):
        return sections, []
    found = copy.deepcopy(sections)
    renamed = []
    for old, new in names.items():
        if not _holds(found, old) or (old == REUSED and _is_batch_of_today(found)):
            continue
        *path, name = old.split(".")
        value = _place(found, path).pop(name)
        if _holds(found, new):
            raise ConfigError(f"{source}: {old} is {new} today: give it by one of the two names")
        *path, name = new.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[name] = value
        renamed.append(f"{old} -> {new}")
    return found, renamed + (_added_penalties(found) if version1 else [])


def current_setting(key: str, value: Any) -> tuple[str, Any]:
    """Return one setting of version 1, such as ``training.clip``, under today's name."""
    path = key.split(".")
    nested = value
    for name in reversed(path):
        nested = {name: nested}
    renamed, _ = with_current_names(nested, key, version1=True)
    names = []
    for _ in path:
        ((name, renamed),) = renamed.items()
        names.append(name)
    return ".".join(names), renamed


def _added_penalties(sections: Any) -> list[str]:
    """Turn penalties, which version 1 subtracted, into numbers that are added; say which."""
    rewards, changed = _place(sections, ["rewards"]), []
    for name in PENALTIES if isinstance(rewards, dict) else ():
        value = rewards.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            rewards[name] = -value
            changed.append(f"rewards.{name}: {value} -> {-value}, a penalty is added")
    return changed


def _is_batch_of_today(sections: Any) -> bool:
    """Return whether ``batch_size`` stands beside what replaced its meaning in version 1."""
    return not _holds(sections, "training.minibatch_size") and any(
        _holds(sections, f"training.{name}") for name in ("steps_per_update", "episodes_per_update")
    )


def _holds(sections: Any, key: str) -> bool:
    *path, name = key.split(".")
    place = _place(sections, path)
    return isinstance(place, dict) and name in place


def _place(sections: Any, path: list[str]) -> Any:
    for name in path:
        sections = sections.get(name) if isinstance(sections, dict) else None
    return sections

"""Parts that a configuration chooses by name: the product's own, and those of users.

A user registers a part in Python, or installs a package with an entry point: its group is the
registry's, its name is the part's. Only the second is seen by every process on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from rllib_tactical.errors import ConfigError

T = TypeVar("T")
Part = TypeVar("Part")


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        setting: dotted key of the configuration that names a part.
        group: of the entry points.
        own: the product's parts as ``module:attribute``, imported when they are asked for.
    """

    def __init__(self, setting: str, group: str, own: Mapping[str, str]) -> None:
        self.setting, self.group = setting, group
        self._own = {name: EntryPoint(name, where, group) for name, where in own.items()}
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def register(self, name: str) -> Callable[[Part], Part]:
        """Return a decorator that registers a part; the last one of a name counts.

        Raises:
            ConfigError: the name is empty or one of the product's own.
        """
        if not name.strip() or name in self._own:
            own = ", ".join(self._own)
            raise ConfigError(
                f"{self.setting}: a registered name must not be empty or {own}, found {name!r}"
            )

        def decorate(part: Part) -> Part:
            self.restore({name: part})
            return part

        return decorate

    def get(self, name: str) -> T:
        """Return a part.

        Raises:
            ConfigError: nothing has that name; the message lists the names that are known.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self._loaded:
            found = self._own.get(name) or next(
                iter(entry_points(group=self.group, name=name)), None
            )
            if found is None:
                raise ConfigError(
                    f"{self.setting} must be one of {', '.join(self.names())}, found {name!r}"
                )
            self._loaded[name] = found.load()
        return self._loaded[name]

    def names(self) -> list[str]:
        """Return every known name, the product's own first."""
        installed = {point.name for point in entry_points(group=self.group)}
        return [*self._own, *sorted({*self._registered, *installed} - set(self._own))]

    def registered(self) -> dict[str, T]:
        """Return what was registered in this process, to be restored in another one."""
        return dict(self._registered)

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Register what another process has registered."""
        self._registered.update(parts)

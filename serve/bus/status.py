"""Where the bus is and how it is, for the rest of the service. Needs no Redis client."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Final

from rllib_tactical.errors import ServiceError
from serve.api.redis_url import without_password
from serve.api.streams import BusAddress

BUS_VARIABLE: Final = "REDIS_URL"

OUTCOMES: Final = (
    "order",
    "hold",
    "event_late",
    "event_early",
    "repeat",
    "conflict",
    "accepted",
    "dead",
    "gone",
)
"""What may come of an entry. ``accepted``: bars or fills; ``gone``: answered by another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """Where the bus is, see ``BusAddress``; ``lease_s``: when another consumer may take over."""

    url: str
    lease_s: float = 3.0

    @property
    def shown(self) -> str:
        """Where it is, for messages: without a password."""
        where = BusAddress.of(self.url)
        return f"{without_password(where.address)}#{where.name}"


def bus_settings(url: str | None) -> BusSettings | None:
    """Return the settings of the bus at ``url``, None without one.

    Raises:
        ServiceError: it is no such URL, or the Redis client is not installed.
    """
    if not url:
        return None
    BusAddress.of(url)
    if importlib.util.find_spec("redis") is None:
        raise ServiceError("a bus needs the extra redis: pip install 'rllib-tactical[redis]'")
    return BusSettings(url=url)


@dataclass(frozen=True, slots=True)
class BusFigures:
    """The group's entries that were not read yet, those not answered, and all dead letters.

    ``oldest_s``: age of the oldest that was read and is not answered, 0 without one.
    """

    lag: int
    pending: int
    dead: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BusStatus:
    """How the bus is for this process.

    ``unreachable``: why the server cannot be used; ``refused``: why it does not take answers;
    ``leads``: this process reads, others stand by; ``warning``: what the server may lose;
    ``took_s``: how long the server took to answer the last time; ``dead_recently``: a dead letter
    was added within the hour.
    """

    unreachable: str | None = "not connected yet"
    refused: str | None = None
    leads: bool = False
    warning: str | None = None
    figures: BusFigures | None = None
    took_s: float = 0.0
    dead_recently: bool = False

    @property
    def reads(self) -> bool:
        """Whether this process takes what is on the bus."""
        return self.leads and self.unreachable is None

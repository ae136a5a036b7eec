"""Leases: which replica may decide on which version of the state, and until when."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

_FORGET_AFTER_S: Final = 60.0


class Report(msgspec.Struct, frozen=True):
    """The result of a proposal in one replica; ``error`` is None when the bundle is ready."""

    number: int
    error: str | None


@dataclass(slots=True)
class Replica:
    """What a replica may decide on.

    It may use version ``confirmed`` until ``held_until``. Once it has installed the version that it
    was sent, it may use version ``offered`` until ``lease_until``. ``report``: the result of the
    newest proposal.
    """

    confirmed: int
    held_until: float
    offered: int
    lease_until: float
    report: Report | None = None

    @property
    def until(self) -> float:
        """Until when it may decide at all."""
        return max(self.held_until, self.lease_until)

    def last_use(self, before: int) -> float:
        """Return until when it may decide on a version before ``before``."""
        until = self.held_until if self.confirmed < before else -math.inf
        return max(until, self.lease_until) if self.offered < before else until


class Leases:
    """The leases of all replicas, as far as the coordinator knows.

    Args:
        lease_s: how long one runs from the moment it was asked for.
        monotonic: seconds that only grow.
    """

    def __init__(self, lease_s: float, monotonic: Callable[[], float]) -> None:
        self._lease_s, self._monotonic = lease_s, monotonic
        self._replicas: dict[str, Replica] = {}
        # an earlier coordinator may have given leases that are not known here
        self.unknown_until = monotonic() + lease_s

    def ask(self, name: str, have: int, report: Report | None) -> Replica:
        """Record that a replica, which decides on version ``have``, asks for news."""
        now = self._monotonic()
        known = self._replicas.get(name)
        held_until = now  # at least: a replica that waits for an answer must not be forgotten
        if known is not None:  # it has installed what it was offered, or still uses what it had
            until = known.lease_until if have == known.offered else known.held_until
            held_until = max(now, until)
        asking = Replica(have, held_until, have, held_until, report)
        self._replicas[name] = asking
        return asking

    def offer(self, replica: Replica, version: int, asked: float) -> None:
        """Record the version that a replica is sent; its lease on it runs from ``asked``.

        A replica that fails to install it keeps its old version, until the end of the old lease.
        """
        replica.offered, replica.lease_until = version, asked + self._lease_s

    def end(self, name: str) -> None:
        """Forget a replica that stops."""
        self._replicas.pop(name, None)

    def live(self) -> list[Replica]:
        """Return the replicas that may decide now."""
        now = self._monotonic()
        for name in [n for n, r in self._replicas.items() if r.until < now - _FORGET_AFTER_S]:
            del self._replicas[name]
        return [replica for replica in self._replicas.values() if replica.until > now]

    def last_use(self, before: int) -> float:
        """Return until when any replica may decide on a version before ``before``."""
        uses = (replica.last_use(before) for replica in self.live())
        return max([self.unknown_until, *uses])

"""What the coordinator and its replicas send each other, in msgpack."""

from __future__ import annotations

import msgspec

from serve.state.machine import Snapshot

Reply = tuple[int, bytes]
"""HTTP status and JSON body: the coordinator's answer to a write or a question."""


class Proposal(msgspec.Struct, frozen=True):
    """A bundle that every replica is asked to load and warm up, without using it yet."""

    number: int
    path: str
    bundle_id: str


class View(msgspec.Struct, frozen=True):
    """The answer to a poll. ``snapshot`` is None when the replica has this version already.

    ``bundle_copy``: where the coordinator keeps the chosen bundle, on its own node.
    """

    version: int
    lease_s: float
    snapshot: Snapshot | None
    proposal: Proposal | None
    bundle_copy: str

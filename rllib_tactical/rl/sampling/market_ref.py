"""The market for workers: a reference into Ray's object store, opened once per process."""

from __future__ import annotations

import dataclasses
from typing import Any

import ray
from ray import cloudpickle

from envs.market import MarketPart, MarketSpec
from rllib_tactical.errors import TrainingError

_parts: dict[bytes, tuple[MarketPart, ...]] = {}
_opened: dict[tuple[bytes, bytes], MarketSpec] = {}


class MarketHandle:
    """Stands for the market in RLlib's configuration.

    RLlib copies and pickles its configuration often; a handle has a few kilobytes, and each node
    gets the bars once. Arrays opened from the object store are read-only views of shared memory.
    The handle keeps the reference as bytes, so that an actor restarted after a failure can open it
    again, which Ray does not guarantee for references among an actor's constructor arguments. The
    process that put the bars into the store owns them and must outlive their users.

    Rules, rewards and episodes are stored beside the reference. So a new handle for bars that came
    from another handle, with any other settings, refers to the same bars in the store: the trials
    of a sweep share one copy.
    """

    def __init__(self, market: MarketSpec) -> None:
        known = [key for key, parts in _parts.items() if parts is market.parts]
        if known:
            self._key = known[0]
        else:
            self._reference = ray.put(market.parts)
            self._key = cloudpickle.dumps(self._reference)
        self._settings: bytes = cloudpickle.dumps(dataclasses.replace(market, parts=()))

    def open(self) -> MarketSpec:
        """Return the market; every call in one process returns the same object."""
        place = self._key, self._settings
        if place not in _opened:
            _opened.clear()  # a process replays one market at a time
            _opened[place] = dataclasses.replace(
                cloudpickle.loads(self._settings), parts=_open_parts(self._key)
            )
        return _opened[place]

    def __deepcopy__(self, memo: dict[int, Any]) -> MarketHandle:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"_key": self._key, "_settings": self._settings}


def _open_parts(key: bytes) -> tuple[MarketPart, ...]:
    if key not in _parts:
        _parts.clear()
        parts = ray.get(cloudpickle.loads(key))
        if not (isinstance(parts, tuple) and all(isinstance(p, MarketPart) for p in parts)):
            raise TrainingError(
                "the market of this configuration belongs to another Ray session: build the "
                "configuration again and restore the checkpoint's state into it"
            )
        _parts[key] = parts
    return _parts[key]

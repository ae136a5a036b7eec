"""The market as workers get it: a reference into Ray's object store, opened once per process."""

from __future__ import annotations

from typing import Any

import ray
from ray import cloudpickle

from envs.market import MarketSpec
from rllib_tactical.errors import TrainingError

_opened: dict[bytes, MarketSpec] = {}


class MarketHandle:
    """Travels inside RLlib's configuration in place of the market itself.

    RLlib copies and pickles its configuration often; a handle stays a few hundred bytes, and the
    market reaches each node once. Arrays opened from the object store are read-only views of shared
    memory. The reference travels as bytes: an actor that is restarted after a failure opens it
    anew, which Ray does not promise for references among an actor's constructor arguments. The
    process that made the handle owns the market and must outlive its users.
    """

    def __init__(self, market: MarketSpec) -> None:
        self._reference = ray.put(market)
        self._key: bytes = cloudpickle.dumps(self._reference)

    def open(self) -> MarketSpec:
        """Return the market; every call in one process returns the same object."""
        if self._key not in _opened:
            _opened.clear()  # a process replays one market at a time
            market = ray.get(cloudpickle.loads(self._key))
            if not isinstance(market, MarketSpec):
                raise TrainingError(
                    "the market of this configuration belongs to another Ray session: build the "
                    "configuration anew and restore the checkpoint's state into it"
                )
            _opened[self._key] = market
        return _opened[self._key]

    def __deepcopy__(self, memo: dict[int, Any]) -> MarketHandle:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"_key": self._key}

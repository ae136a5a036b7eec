"""The market for workers: a reference into Ray's object store, opened once per process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Protocol
from weakref import WeakSet

import ray
from ray import cloudpickle

from envs.market import MarketPart, MarketSpec
from rllib_tactical.errors import TacticalError, TrainingError


class MarketOrigin(Protocol):
    """What a market is made from: it is stored with checkpoints, and makes the market again.

    ``str`` of it names the files or the generator.
    """

    def parts(self) -> tuple[MarketPart, ...]:
        """Make the parts of the market again.

        Raises:
            TacticalError: a file is gone or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bars are: a reference, pickled, and the Ray job whose driver owns it."""

    job: str
    reference: bytes

    @property
    def is_alive(self) -> bool:
        return self.job == _this_job()


@dataclass(frozen=True, slots=True)
class _Opened:
    place: _Place
    parts: tuple[MarketPart, ...]
    digest: str
    origin: MarketOrigin | None


_OF_EARLIER_VERSIONS: Final[dict[str, Any]] = {
    "_place": _Place("", b""),
    "digest": "",
    "_names": "of an earlier version",
    "_origin": None,
}
_opened: dict[_Place, _Opened] = {}
_specs: dict[tuple[_Place, bytes], MarketSpec] = {}
_handles: WeakSet[MarketHandle] = WeakSet()
_again: list[MarketHandle] = []


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

    A checkpoint outlives its Ray session, and the reference with it. Opened in another one, a
    handle takes the market of any living handle of this process with the same digest, or makes it
    again from its origin, and refuses what has another digest.

    Args:
        market: what is replayed.
        origin: what its parts are made from; None where only the caller can make them.
    """

    digest: str
    """SHA-256 of the parts, see ``MarketSpec.digest``."""

    def __init__(self, market: MarketSpec, origin: MarketOrigin | None = None) -> None:
        known = [each for each in _opened.values() if each.parts is market.parts]
        if known and known[0].place.is_alive:
            self._place, self.digest = known[0].place, known[0].digest
            self._origin = known[0].origin or origin
        else:
            self._reference = ray.put(market.parts)
            self._place = _Place(_this_job(), cloudpickle.dumps(self._reference))
            self.digest, self._origin = market.digest, origin
        self._names = ", ".join(part.history.instrument.symbol for part in market.parts)
        self._settings: bytes = cloudpickle.dumps(dataclasses.replace(market, parts=()))
        _handles.add(self)

    def open(self) -> MarketSpec:
        """Return the market; every call in one process returns the same object.

        Raises:
            TrainingError: see ``renewed``.
        """
        place = self.renewed()._place
        key = place, self._settings
        if key not in _specs:
            _specs.clear()  # a process replays one market at a time
            settings: MarketSpec = cloudpickle.loads(self._settings)
            _specs[key] = dataclasses.replace(settings, parts=self._parts_at(place))
        return _specs[key]

    def renewed(self) -> MarketHandle:
        """Return a handle that this Ray session can open: itself, or one of the same market.

        Raises:
            TrainingError: the handle is of another session, and its market is neither in this
                process nor made again from its origin, or comes out with another digest.
        """
        if self._place.is_alive:
            return self
        same = [each for each in _handles if each.digest == self.digest and each._place.is_alive]
        living = same[0] if same else self._make_again()
        renewed = MarketHandle.__new__(MarketHandle)
        renewed.__dict__ |= self.__dict__ | {"_place": living._place}
        renewed._origin = self._origin or living._origin
        return renewed

    def _make_again(self) -> MarketHandle:
        name = f"the market {self.digest[:12]} ({self._names})"
        if self._origin is None:
            raise TrainingError(
                f"{name} belongs to another Ray session and names no files: build it again and "
                "keep its MarketHandle while the checkpoint is restored"
            )
        settings: MarketSpec = cloudpickle.loads(self._settings)
        try:
            market = dataclasses.replace(settings, parts=self._origin.parts())
        except TacticalError as error:
            raise TrainingError(f"{name} needs {self._origin}: {error}") from error
        if market.digest != self.digest:
            raise TrainingError(
                f"{name} differs from what {self._origin} has now, {market.digest[:12]}"
            )
        _again[:] = [MarketHandle(market, self._origin)]  # keeps it alive for the next who asks
        return _again[0]

    def _parts_at(self, place: _Place) -> tuple[MarketPart, ...]:
        if place not in _opened:
            _opened.clear()
            parts: tuple[MarketPart, ...] = ray.get(cloudpickle.loads(place.reference))
            _opened[place] = _Opened(place, parts, self.digest, self._origin)
        return _opened[place].parts

    def __deepcopy__(self, memo: dict[int, Any]) -> MarketHandle:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= _OF_EARLIER_VERSIONS | state

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_place", "_settings", "digest", "_origin", "_names")
        return {name: self.__dict__[name] for name in kept}


def _this_job() -> str:
    """Return what tells this driver's objects from those of any other driver and session."""
    context = ray.get_runtime_context()
    return f"{context.get_session_name()}/{context.get_job_id()}"

"""Find, lock and open the state that a path or a URL names; read that of older versions."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rllib_tactical.errors import ServiceError
from serve.api.redis_url import is_redis
from serve.state.conversion import convert_journal
from serve.state.history import check_image, damaged
from serve.state.records import NO_EXPERIMENT, ExperimentRecord, ModelRecord
from serve.state.shared import SharedState
from serve.state.sqlite_store import SqliteStore
from serve.state.standing_order import StandingOrders, plain_name
from serve.state.store import DamagedError, Store, StoreError
from serve.state.total import NO_LIMITS, TotalLimits

_LOCK: Final = "lock"
_OPENING: Final = "opening.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """What a replica needs to find the state.

    ``store``: see ``store_name``. ``folder``: on this machine, for copies of bundles and the
    standing order. ``models``: the bundles that the service was started with, one for each symbol;
    ``limits``: those over the sum of their accounts; ``experiment``: their challengers.
    """

    store: str
    folder: str
    models: tuple[ModelRecord, ...]
    limits: TotalLimits = NO_LIMITS
    experiment: ExperimentRecord = NO_EXPERIMENT


def is_remote(where: str) -> bool:
    """Return whether ``--state`` names a Redis or Valkey server, not a folder."""
    return is_redis(where)


def store_name(where: str, symbol: str) -> str:
    """Return what names the state of one symbol in a folder or on a server."""
    plain = plain_name(symbol)
    return f"{where}#{plain}" if is_remote(where) else str((Path(where) / plain).resolve())


def journal_name(name: str) -> str:
    """Return what names the journal of decisions beside the state that ``name`` names."""
    return f"{name}:decisions" if is_remote(name) else str(Path(name) / "decisions")


def open_store(name: str) -> Store:
    """Open the store that ``store_name`` returned; an older version's folder is converted first.

    Raises:
        StoreError: it cannot be reached, read or written.
        DamagedError: it is not what was written, see ``history.load`` for its records.
        ServiceError: an older service is using the folder.
    """
    if is_remote(name):
        try:
            from serve.state.redis_store import RedisStore  # only where it is used: an extra
        except ImportError as error:
            raise ServiceError(
                "a state on a server needs the extra redis: pip install 'rllib-tactical[redis]'"
            ) from error
        return RedisStore(name)
    folder = Path(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            convert_journal(folder)
            return SqliteStore(folder)
    except OSError as error:
        raise StoreError(f"state folder {folder}: {error.strerror}") from error


def open_journal(name: str) -> Store:
    """Open the journal of decisions of the state that ``name`` names.

    Raises:
        ServiceError: see ``open_store``; what is not archived of it is not what was written.
    """
    journal = open_store(journal_name(name))
    try:
        found = check_image(journal.image())
        if found is not None:
            raise damaged(journal, DamagedError(found.problem))
    except BaseException:
        journal.close()
        raise
    return journal


def shared_state(
    store: Store,
    *models: ModelRecord,
    limits: TotalLimits = NO_LIMITS,
    experiment: ExperimentRecord = NO_EXPERIMENT,
) -> SharedState:
    """Return the state that a store holds, for a service that is started with ``models``.

    Raises:
        ServiceError: see ``SharedState``.
    """
    try:
        return SharedState(store, *models, limits=limits, experiment=experiment)
    except (StoreError, DamagedError):
        raise
    except ServiceError as error:
        raise ServiceError(f"state folder {store.name}: {error}") from error


def state_of(store: Store, settings: StateSettings) -> SharedState:
    """Return the state that a store holds for a service with these settings.

    Raises:
        ServiceError: see ``SharedState``.
    """
    return shared_state(
        store, *settings.models, limits=settings.limits, experiment=settings.experiment
    )


class FolderLock:
    """Who uses a state folder: many replicas of one service, or one other command.

    ``wait_s``: for how long others may still be ending.

    Raises:
        ServiceError: the folder is used by somebody else.
    """

    def __init__(self, folder: Path, alone: bool, wait_s: float = 0.0) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ServiceError(f"state folder {folder}: {error.strerror}") from error
        kind = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, kind)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    os.close(self._file)
                    text = f"state folder {folder}: another service is using it"
                    raise ServiceError(text) from error
                time.sleep(0.05)

    def share(self) -> None:
        """Let replicas in."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let everybody in."""
        os.close(self._file)


class OpenState:
    """The state, opened: what a replica holds until it stops.

    Raises:
        ServiceError: it cannot be opened, is damaged or belongs to another market than the bundle.
    """

    def __init__(self, settings: StateSettings) -> None:
        folder = Path(settings.folder)
        self.lock = FolderLock(folder, alone=False)
        try:
            self.store = open_store(settings.store)
        except BaseException:
            self.lock.release()
            raise
        try:
            self.shared = state_of(self.store, settings)
            self.journal = open_journal(settings.store)
            self.orders = StandingOrders(folder, self.shared.machine.served)
        except BaseException:
            self.store.close()
            self.lock.release()
            raise

    def close(self) -> None:
        """Close the state."""
        self.orders.close()
        self.journal.close()
        self.store.close()
        self.lock.release()


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    handle = os.open(folder / _OPENING, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

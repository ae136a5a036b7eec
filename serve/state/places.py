"""Where the state of a service is: one symbol has a folder of its own, several share one state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rllib_tactical.errors import ServiceError
from serve.state.conversion import JOURNAL
from serve.state.history import load
from serve.state.opening import FolderLock, is_remote, open_store, store_name
from serve.state.sqlite_store import FILE_NAME, HEAD_NAME

_SHARED: Final = ".all"
"""What the state of several symbols is called on a server; no symbol is called so there."""

_FILES: Final = (FILE_NAME, HEAD_NAME, JOURNAL)
_MOVING: Final = ".moving"
"""What a folder is called while its files move to the folder around it."""


def shared_name(where: str) -> str:
    """Return what names the state of several symbols in a folder or on a server."""
    return f"{where}#{_SHARED}" if is_remote(where) else str(Path(where).resolve())


def place_state(where: str, symbols: Sequence[str]) -> str:
    """Return what names the state of a service with these symbols, see ``open_store``.

    One symbol has a state of its own, unless that of several symbols has it. Several share one; a
    folder that holds the state of one of them alone becomes that of all.

    Raises:
        ServiceError: the states of several of them are kept apart, one of them in two places, or
            an older service is using one.
        StoreError: a state cannot be read.
        DamagedError: a state is not what was written to it.
    """
    shared = shared_name(where)
    if not is_remote(where):
        _finish_move(Path(shared))
    known = symbols_in(shared) if holds_state(shared) else ()
    apart = [symbol for symbol in symbols if holds_state(store_name(where, symbol))]
    twice = [symbol for symbol in apart if symbol in known]
    if twice:
        raise ServiceError(
            f"the state of {twice[0]} must be in one place, found it in {shared} and in "
            f"{store_name(where, twice[0])}"
        )
    if len(symbols) == 1:
        return shared if symbols[0] in known else store_name(where, symbols[0])
    if not apart:
        return shared
    if known or len(apart) > 1 or is_remote(where):
        raise ServiceError(
            f"several symbols share one state, found {', '.join(apart)} with a state of its own "
            f"in {where}: start with another --state, send the bars anew and adopt the accounts "
            "by POST /account"
        )
    _share(Path(store_name(where, apart[0])), Path(shared))
    return shared


def holds_state(name: str) -> bool:
    """Return whether there is a state; a folder is only looked at.

    Raises:
        StoreError: a server cannot be reached.
    """
    if not is_remote(name):
        return any((Path(name) / file).is_file() for file in _FILES)
    store = open_store(name)
    try:
        return store.version() > 0
    finally:
        store.close()


def symbols_in(name: str) -> tuple[str, ...]:
    """Return the symbols of a state.

    Raises:
        StoreError: it cannot be read.
        DamagedError: it is not what was written to it.
    """
    store = open_store(name)
    try:
        machine, _, _ = load(store)
    finally:
        store.close()
    return () if machine is None else tuple(machine.symbols)


def _share(own: Path, shared: Path) -> None:
    """Make the folder of one symbol that of several; ``_finish_move`` does it after a crash."""
    lock = FolderLock(own, alone=True)
    try:
        own.rename(shared / _MOVING)
        _finish_move(shared)
    except OSError as error:
        raise ServiceError(f"state folder {own}: {error.strerror}") from error
    finally:
        lock.release()


def _finish_move(shared: Path) -> None:
    moving = shared / _MOVING
    if not moving.is_dir():
        return
    for path in sorted(moving.iterdir()):
        path.rename(shared / path.name)
    moving.rmdir()

"""An operator's order that needs no free disk: a small file whose blocks exist already.

When the store cannot be written, pause, force hold and flatten are written here in place, and every
replica on this machine reads the file before each decision. Once the store can be written again,
the order is recorded there and the file is cleared.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.errors import ServiceError
from serve.state.records import ControlRecord

FILE_NAME: Final = "order"
_SIZE: Final = 4096
_EMPTY: Final = bytes(_SIZE)
_DECODE: Final = msgspec.msgpack.Decoder(ControlRecord).decode
_ENCODE: Final = msgspec.msgpack.Encoder().encode

UNREADABLE: Final = ControlRecord(0.0, "pause", None, "the standing order cannot be read")
"""What holds when the file is damaged: nobody knows what was ordered."""


class StandingOrder:
    """The order in the file ``name`` of ``folder``, which exists; the file is made if needed.

    Raises:
        ServiceError: the file cannot be made.
    """

    def __init__(self, folder: Path, name: str = FILE_NAME) -> None:
        self.path = folder / name
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            if os.fstat(self._file).st_size < _SIZE:
                os.pwrite(self._file, _EMPTY, 0)
                os.fsync(self._file)
        except OSError as error:
            raise ServiceError(f"{self.path}: {error.strerror}") from error
        self._raw = _EMPTY
        self._order: ControlRecord | None = None
        self._unwritten: ControlRecord | None = None

    def read(self) -> ControlRecord | None:
        """Return the order, None when there is none; costs a microsecond."""
        if self._unwritten is not None:
            return self._unwritten
        try:
            raw = os.pread(self._file, _SIZE, 0)
        except OSError:
            return self._order
        if raw != self._raw:
            self._raw, self._order = raw, _decoded(raw)
        return self._order

    def write(self, order: ControlRecord) -> bool:
        """Put an order into force; return whether it is in the file, or in this process alone."""
        payload = _ENCODE(order)
        framed = len(payload).to_bytes(4) + zlib.crc32(payload).to_bytes(4) + payload
        self._unwritten = order
        try:
            with self._alone():
                os.pwrite(self._file, framed.ljust(_SIZE, b"\0"), 0)
                os.fsync(self._file)
        except OSError:
            return False
        self._unwritten = None
        return True

    def clear(self, order: ControlRecord) -> None:
        """Remove ``order`` once the store has it; one given since then stays.

        Raises:
            OSError: the file cannot be written.
        """
        if self._unwritten is order:
            self._unwritten = None
        with self._alone():
            if self.read() == order:
                os.pwrite(self._file, _EMPTY, 0)
                os.fsync(self._file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class StandingOrders:
    """The order for all symbols in ``folder``, and one for each where there are several.

    Raises:
        ServiceError: a file cannot be made.
    """

    def __init__(self, folder: Path, symbols: Sequence[str]) -> None:
        self._all = StandingOrder(folder)
        self._of: dict[str, StandingOrder] = {}
        if len(symbols) > 1:
            self._of = {symbol: StandingOrder(folder, order_name(symbol)) for symbol in symbols}

    def read(self, symbol: str) -> ControlRecord | None:
        """Return the order that stands for a symbol, the newest where there are two."""
        order = self._all.read()
        own = self._of.get(symbol)
        given = None if own is None else own.read()
        if order is None or (given is not None and given.at_s > order.at_s):
            return given
        return order

    def standing(self) -> list[ControlRecord]:
        """Return all orders that stand, oldest first."""
        found = (order.read() for order in (self._all, *self._of.values()))
        return sorted((each for each in found if each is not None), key=lambda each: each.at_s)

    def write(self, order: ControlRecord) -> bool:
        """See ``StandingOrder.write``."""
        return self._file_of(order).write(order)

    def clear(self, order: ControlRecord) -> None:
        """See ``StandingOrder.clear``."""
        self._file_of(order).clear(order)

    def close(self) -> None:
        """Close the files."""
        for order in (self._all, *self._of.values()):
            order.close()

    def _file_of(self, order: ControlRecord) -> StandingOrder:
        return self._of.get(order.symbol or "", self._all)


def order_name(symbol: str) -> str:
    """Return the name of the file of a symbol's order, which no other symbol has."""
    return f"{FILE_NAME}-{plain_name(symbol)}-{zlib.crc32(symbol.encode()):08x}"


def plain_name(symbol: str) -> str:
    """Return what a symbol is called in names of files and keys."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in symbol)
    return plain.lstrip(".")


def _decoded(raw: bytes) -> ControlRecord | None:
    if raw == _EMPTY:
        return None
    payload = raw[8 : 8 + int.from_bytes(raw[:4])]
    if zlib.crc32(payload) != int.from_bytes(raw[4:8]):
        return UNREADABLE
    try:
        return _DECODE(payload)
    except msgspec.DecodeError:
        return UNREADABLE

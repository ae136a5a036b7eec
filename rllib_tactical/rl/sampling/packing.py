"""The steps of a segment as few bytes, and back, bit for bit.

Each column is predicted from columns before it, or from the bar before; only what differs is
written: where it differs, and the values. Votes, the end of an episode and the side of the position
are one byte. The first bytes of floats, sign and exponent, are few, and written by their number.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.types import (
    NUM_ACTIONS,
    NUM_AGENTS,
    AnyArray,
    BoolArray,
    Float32Array,
    IntArray,
)

_SHAPE: Final = struct.Struct("<IIBB")
_VOTES: Final = (NUM_ACTIONS,) * NUM_AGENTS
_CODES: Final = (3, 2, *_VOTES)
"""Side of the position (short, flat, long), whether the account's episode ends, the votes."""

_NOTHING, _MASK, _PLACES = 0, 1, 2
"""How the places of values are written: there are none; a bit for each place; their numbers."""

_WIDTHS: Final = (0, 1, 2, 4)
"""Bits with which one of up to 2**bits first bytes is numbered."""

_BARS_A_UNIT, _MOST_UNITS = 60.0, 2.0
"""Unit and cap of the account's feature "bars in trade"."""


class Steps(NamedTuple):
    """The arrays of a segment, see ``JointEpisode``; ``logp`` may have no column."""

    t: NDArray[np.int32]
    account: Float32Array
    actions: NDArray[np.int8]
    logp: Float32Array
    rewards: Float32Array
    terminated: BoolArray


def packed(steps: Steps) -> bytes:
    """Return the steps of K accounts as bytes."""
    length, accounts = steps.terminated.shape
    features = steps.account.shape[-1]
    out = [_SHAPE.pack(length, accounts, steps.logp.shape[-1], features)]
    _write_changes(out, steps.t[:, None] - _rows(length + 1))
    side, pnl, bars, *slow = np.moveaxis(steps.account, -1, 0)
    code = np.zeros((length + 1, accounts), dtype=np.uint8)
    places = np.sign(np.nan_to_num(side)).astype(np.int64) + 1
    votes = np.moveaxis(steps.actions.astype(np.int64), -1, 0)
    code[:-1] = np.ravel_multi_index(
        (places[:-1], steps.terminated.astype(np.int64), *votes), _CODES
    )
    code[-1] = np.ravel_multi_index((places[-1], 0, 0, 0, 0), _CODES)
    out.append(code.tobytes())
    predicted = (places - 1).astype(np.float32)
    _write_others(out, side, predicted)
    _write_others(out, pnl, np.zeros_like(pnl))
    held = predicted != 0
    opened = _opened(bars, held)
    _write_changes(out, opened)
    _write_others(out, bars, _bars_in_trade(opened, held))
    for feature in slow:
        _write_changes(out, feature)
    first = steps.rewards[..., 0]
    _write_others(out, first, np.zeros_like(first))
    for i in range(1, NUM_AGENTS):
        _write_others(out, steps.rewards[..., i], first)
    if steps.logp.shape[-1]:
        table, cells = _of_votes(steps.actions)
        table[cells] = steps.logp  # accounts with one vote on one bar drew it alike
        _write_values(out, table[_seen(table, cells)].view(np.uint32))
        _write_others(out, steps.logp, table[cells])
    return b"".join(out)


def unpacked(data: bytes) -> Steps:
    """Return what was packed."""
    length, accounts, logged, features = _SHAPE.unpack_from(data)
    source = _Reader(data, _SHAPE.size)
    shape = (length + 1, accounts)
    t = source.changes((length + 1, 1), np.int32)[:, 0] + _rows(length + 1)[:, 0]
    code = source.take(shape, np.uint8)
    place, ended, *votes = np.unravel_index(code, _CODES)
    predicted = (place - 1).astype(np.float32)
    held = predicted != 0
    account = np.empty((*shape, features), dtype=np.float32)
    account[..., 0] = source.others(predicted)
    account[..., 1] = source.others(np.zeros(shape, dtype=np.float32))
    account[..., 2] = source.others(_bars_in_trade(source.changes(shape, np.int32), held))
    for i in range(3, features):
        account[..., i] = source.changes(shape, np.float32)
    actions = np.stack(votes, axis=-1)[:-1].astype(np.int8)
    rewards = np.empty((length, accounts, NUM_AGENTS), dtype=np.float32)
    rewards[..., 0] = source.others(np.zeros((length, accounts), dtype=np.float32))
    for i in range(1, NUM_AGENTS):
        rewards[..., i] = source.others(rewards[..., 0])
    logp = np.empty((length, accounts, logged), dtype=np.float32)
    if logged:
        table, cells = _of_votes(actions)
        seen = _seen(table, cells)
        table[seen] = source.values(int(seen.sum()), np.float32)
        logp = source.others(table[cells])
    return Steps(t.astype(np.int32), account, actions, logp, rewards, ended[:-1].astype(np.bool_))


def _rows(count: int) -> NDArray[np.int32]:
    return np.arange(count, dtype=np.int32)[:, None]


def _opened(bars: Float32Array, held: BoolArray) -> NDArray[np.int32]:
    """Return the row (R, K) on which each open trade was opened, as far as its bars tell.

    It stays what it was where no trade is open, and where the number of bars is capped.
    """
    tells = held & (bars >= 0) & (bars < _MOST_UNITS)
    count = np.rint(np.where(tells, bars, 0.0) * _BARS_A_UNIT).astype(np.int32)
    opened: NDArray[np.int32] = _filled(
        np.where(tells, _rows(len(bars)) - count, 0).astype(np.int32), tells
    )
    return opened


def _bars_in_trade(opened: NDArray[np.int32], held: BoolArray) -> Float32Array:
    units = np.minimum((_rows(len(held)) - opened) / _BARS_A_UNIT, _MOST_UNITS)
    bars: Float32Array = np.where(held, units, 0.0).astype(np.float32)
    return bars


def _of_votes(actions: NDArray[np.int8]) -> tuple[Float32Array, tuple[IntArray, ...]]:
    """Return a table (L, 3 agents, 3 votes), and the cells of it that actions (L, K, 3) are."""
    table = np.zeros((len(actions), NUM_AGENTS, NUM_ACTIONS), dtype=np.float32)
    bar, agent = np.arange(len(actions))[:, None, None], np.arange(NUM_AGENTS)
    return table, (bar, agent, actions.astype(np.int64))


def _seen(table: Float32Array, cells: tuple[IntArray, ...]) -> BoolArray:
    seen = np.zeros(table.shape, dtype=np.bool_)
    seen[cells] = True
    return seen


def _filled(values: Any, known: BoolArray) -> Any:
    """Return values (R, K) where each that is not known is the last known one before it, or 0."""
    last = np.maximum.accumulate(np.where(known, _rows(len(values)) + 1, 0), axis=0)
    padded = np.concatenate([np.zeros_like(values[:1]), values])
    return np.take_along_axis(padded, last, axis=0)


def _write_changes(out: list[bytes], values: AnyArray) -> None:
    """Write values (R, K) of 32 bits where they differ from the row before; the first from 0."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    _write(out, bits, np.diff(bits, axis=0, prepend=np.zeros_like(bits[:1])) != 0)


def _write_others(out: list[bytes], values: Float32Array, predicted: Float32Array) -> None:
    """Write values where their bits are others than those predicted."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    _write(out, bits, bits != np.ascontiguousarray(predicted).view(np.uint32))


def _write(out: list[bytes], bits: AnyArray, where: BoolArray) -> None:
    places = np.flatnonzero(where)
    if not len(places):
        out.append(bytes([_NOTHING]))
    elif where.size <= 1 << 16 and 16 * len(places) + 32 < where.size:
        out += [bytes([_PLACES]), struct.pack("<I", len(places)), places.astype("<u2").tobytes()]
    else:
        out += [bytes([_MASK]), np.packbits(where).tobytes()]
    _write_values(out, bits[where])


def _write_values(out: list[bytes], bits: AnyArray) -> None:
    """Write values (N,) of 32 bits: the first byte of each by its number, and the others."""
    if not len(bits):
        return
    plain = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
    first, number = np.unique(plain[:, 3], return_inverse=True)
    width = next((width for width in _WIDTHS if len(first) <= 1 << width), 8)
    out.append(bytes([width]))
    if width == 8:
        out.append(plain[:, 3].tobytes())
    else:
        out += [bytes([len(first)]), first.tobytes()]
        numbered = np.unpackbits(number.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
        out.append(np.packbits(numbered).tobytes())
    out.append(plain[:, :3].tobytes())


class _Reader:
    """Takes columns from bytes in the order in which they were written."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._at = data, start

    def take(self, shape: tuple[int, ...], dtype: Any) -> AnyArray:
        """Return the next array."""
        count = math.prod(shape)
        found = np.frombuffer(self._data, dtype, count, self._at)
        self._at += found.nbytes
        return found.reshape(shape)

    def values(self, count: int, dtype: Any) -> AnyArray:
        """Return the next values of 32 bits."""
        plain = np.empty((count, 4), dtype=np.uint8)
        if count:
            (width,) = self.take((1,), np.uint8).tolist()
            if width == 8:
                plain[:, 3] = self.take((count,), np.uint8)
            else:
                (kinds,) = self.take((1,), np.uint8).tolist()
                first = self.take((kinds,), np.uint8)
                size = count * width
                numbered = np.unpackbits(self.take((-(-size // 8),), np.uint8), count=size)
                number = numbered.reshape(count, width) @ (1 << np.arange(width)[::-1])
                plain[:, 3] = first[number.astype(np.int64)]
            plain[:, :3] = self.take((count, 3), np.uint8)
        found: AnyArray = plain.view("<u4")[:, 0].view(dtype)
        return found

    def changes(self, shape: tuple[int, int], dtype: Any) -> Any:
        """Return a column that was written by its changes."""
        where = self._where(shape)
        values = np.zeros(shape, dtype=dtype)
        values[where] = self.values(int(where.sum()), dtype)
        return _filled(values, where)

    def others(self, predicted: Float32Array) -> Float32Array:
        """Return a column that was written where it is other than predicted."""
        where = self._where(predicted.shape)
        values = predicted.copy()
        values[where] = self.values(int(where.sum()), np.float32)
        return values

    def _where(self, shape: tuple[int, ...]) -> BoolArray:
        size = math.prod(shape)
        where = np.zeros(size, dtype=np.bool_)
        (how,) = self.take((1,), np.uint8)
        if how == _MASK:
            where = np.unpackbits(self.take((-(-size // 8),), np.uint8), count=size).astype(
                np.bool_
            )
        elif how == _PLACES:
            (count,) = self.take((1,), np.dtype("<u4"))
            where[self.take((int(count),), np.dtype("<u2"))] = True
        return where.reshape(shape)

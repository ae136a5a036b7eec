"""Rollouts as Parquet files, for analysis outside of training.

One file per env runner and sampling call, ``NNNNNN-WW.parquet``: the iteration and the runner's
number. A runner that is called several times in an iteration, because it also samples for a lost
one, adds the number of the call. One row per account and bar.
"""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from envs.market import MarketSpec
from rllib_tactical.artifacts.atomic import atomic_write_bytes
from rllib_tactical.domain.types import AGENTS, AnyArray
from rllib_tactical.rl.sampling.episode import JointEpisode


class Recorder:
    """Writes what one env runner samples.

    Args:
        folder: created when missing; on the runner's machine.
        market: what is replayed.
        worker: the runner's number.
        again: the runner replaces a lost one, whose files must be kept.
    """

    def __init__(self, folder: Path, market: MarketSpec, worker: int, again: bool = False) -> None:
        self._folder, self._market, self._worker = folder, market, worker
        self._mark = f"-{uuid.uuid4().hex[:8]}" if again else ""
        self.begin(0)

    def begin(self, iteration: int) -> None:
        """Set the iteration by which the next files are named."""
        self._iteration, self._calls = iteration, 0

    def write(self, segments: list[JointEpisode]) -> None:
        """Write one sampling call."""
        self._calls += 1
        call = f"-{self._calls}" if self._calls > 1 else ""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._iteration:06d}-{self._worker:02d}{self._mark}{call}.parquet"
        buffer = io.BytesIO()
        pq.write_table(rollout_table(segments, self._market), buffer, compression="zstd")
        atomic_write_bytes(self._folder / name, buffer.getvalue())


def rollout_table(segments: list[JointEpisode], market: MarketSpec) -> pa.Table:
    """Return segments as a table, one row per account and bar.

    Columns: ``segment`` number in the file and ``account`` in its group; ``symbol``, ``bar`` of the
    instrument's history, ``timestamp`` (its UTC open time); the account's state, named as in
    ``EpisodeConfig.account_features``; per agent ``action`` (index), ``logp`` of it when it was
    drawn, and ``reward``; ``terminated``: the account's episode ended for good; ``ended``: the
    episodes of the whole group ended.
    """
    features = market.episodes.account_features
    parts = [_columns(k, segment, features) for k, segment in enumerate(segments) if len(segment)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    t = joined.pop("t")
    offsets = market.histories.offsets
    owner = np.searchsorted(offsets, t, side="right") - 1
    bar = t - offsets[owner]
    stamps = np.empty(len(t), dtype="datetime64[s]")
    for k, each in enumerate(market.parts):
        mine = owner == k
        stamps[mine] = each.history.bars.timestamp_s[bar[mine]].astype("datetime64[s]")
    symbols = pa.array([part.history.instrument.symbol for part in market.parts])
    first = {"segment": joined.pop("segment"), "account": joined.pop("account")}
    where = {
        "symbol": pa.DictionaryArray.from_arrays(pa.array(owner.astype(np.int32)), symbols),
        "bar": bar,
        "timestamp": pa.array(stamps).cast(pa.timestamp("s", tz="UTC")),
    }
    return pa.table(first | where | joined)


def _columns(number: int, segment: JointEpisode, features: tuple[str, ...]) -> dict[str, AnyArray]:
    bars, accounts = len(segment), segment.accounts
    ended = np.zeros((bars, accounts), dtype=np.bool_)
    ended[-1] = segment.ended
    grid: dict[str, Any] = {
        "segment": np.full((bars, accounts), number, dtype=np.int32),
        "account": np.broadcast_to(np.arange(accounts, dtype=np.int16), (bars, accounts)),
        "t": np.broadcast_to(segment.t[:-1, None].astype(np.int64), (bars, accounts)),
    }
    for i, name in enumerate(features):
        grid[name] = segment.account[:-1, :, i]
    for i, agent in enumerate(AGENTS):
        grid[f"action_{agent}"] = segment.actions[..., i]
        grid[f"logp_{agent}"] = segment.logp[..., i]
        grid[f"reward_{agent}"] = segment.rewards[..., i]
    grid |= {"terminated": segment.terminated, "ended": ended}
    return {name: np.ascontiguousarray(values).reshape(-1) for name, values in grid.items()}

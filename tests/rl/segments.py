"""Episode segments with random content, and a market handle without an object store."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.market import MarketSpec
from rllib_tactical.rl.sampling.episode import JointEpisode


class _OpenMarket:
    def __init__(self, spec: MarketSpec) -> None:
        self._spec = spec

    def open(self) -> MarketSpec:
        return self._spec


def open_market(spec: MarketSpec) -> Any:
    """Return a market handle that holds the market itself, without an object store."""
    return _OpenMarket(spec)


def segment(
    length: int, start: int, accounts: int = 1, ended: bool = False, seed: int = 0
) -> JointEpisode:
    """Return a segment of random steps on bars ``start`` and on; ``ended``: terminated."""
    rng = np.random.default_rng(seed)
    shape = (length, accounts, 3)
    terminated = np.zeros((length, accounts), dtype=np.bool_)
    terminated[-1] = ended
    account = rng.normal(size=(length + 1, accounts, 4)).astype(np.float32)
    account[..., 0] = np.sign(account[..., 0]) * (np.abs(account[..., 0]) > 0.4)  # flat or held
    return JointEpisode(
        f"{start}",
        np.arange(start, start + length + 1, dtype=np.int32),
        account,
        rng.integers(0, 3, shape).astype(np.int8),
        np.log(rng.uniform(0.2, 0.9, shape)).astype(np.float32),
        rng.normal(size=shape).astype(np.float32),
        terminated,
        False,
    )

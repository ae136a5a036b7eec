"""The statistics of drift: how far a window of sessions is from the reference, larger is farther.

All of them work on sums (see ``sums``), so that one call measures one window or thousands of
resampled ones. A statistic without enough to work on is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from rllib_tactical.domain.types import AGENTS, BoolArray, FloatArray
from rllib_tactical.monitoring import sums as at
from rllib_tactical.monitoring.sums import Edges, input_slices

Measure = Callable[[FloatArray, FloatArray], FloatArray]
"""From the sums of windows (..., C) and of references (..., C), broadcast, to values (...)."""

FEW_TRADES: Final = 10
"""Below this number of trades in the window nothing is said about them."""

_HALF: Final = 0.5  # added to each bin, so that an empty one has a logarithm


def population_stability(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the population stability index of counts in bins (..., B).

    sum of (p - q) ln(p / q) over the bins, with half an observation added to each (Siddiqi, 2006).
    """
    p, q = _shares(window, _HALF), _shares(reference, _HALF)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def largest_distance(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the Kolmogorov-Smirnov distance at the bins' edges, of counts in bins (..., B)."""
    p, q = _shares(window).cumsum(axis=-1), _shares(reference).cumsum(axis=-1)
    return np.asarray(np.abs(p - q).max(axis=-1))


def measures_of(group: str, edges: Edges) -> dict[str, Measure]:
    """Return the statistics of a group by name."""
    if group == at.INPUT:
        found: dict[str, Measure] = {}
        for name, part in input_slices(edges).items():
            found[f"psi_{name}"] = partial(_in_bins, part, population_stability)
            found[f"ks_{name}"] = partial(_in_bins, part, largest_distance)
        return found
    if group == at.BEHAVIOR:
        votes = {
            f"votes_{agent}": partial(
                _in_bins, slice(at.VOTES + 3 * i, at.VOTES + 3 * i + 3), population_stability
            )
            for i, agent in enumerate(AGENTS)
        }
        return {"confidence": _confidence, "trades": _trades, **votes}
    return {
        "calibration": _calibration,
        "accuracy": _accuracy,
        "pnl": _pnl,
        "slippage": _slippage,
    }


def _in_bins(
    part: slice, measure: Measure, window: FloatArray, reference: FloatArray
) -> FloatArray:
    counts = np.maximum(window[..., part], 0.0)  # drawn sums may fall below zero
    return _where(counts.sum(axis=-1) > 0, measure(counts, np.maximum(reference[..., part], 0.0)))


def _confidence(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return by how much the mean confidence differs, either way."""
    return np.abs(
        _ratio(window, at.CONFIDENCE, at.DECISIONS) - _ratio(reference, at.CONFIDENCE, at.DECISIONS)
    )


def _trades(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return |ln| of the ratio of trades per decision, with one trade added to each side."""
    found = (np.maximum(window[..., at.TRADES], 0.0) + 1.0) / np.maximum(
        window[..., at.DECISIONS], 1.0
    )
    usual = (np.maximum(reference[..., at.TRADES], 0.0) + 1.0) / np.maximum(
        reference[..., at.DECISIONS], 1.0
    )
    return _where(window[..., at.DECISIONS] > 0, np.abs(np.log(found / usual)))


def _calibration(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return by how much confidence exceeds the share of won trades, beyond the reference's."""

    def excess(sums: FloatArray) -> FloatArray:
        return (sums[..., at.SCORE] - sums[..., at.WON]) / np.maximum(sums[..., at.SCORED], 1.0)

    return _where(_enough(window, at.SCORED), excess(window) - excess(reference))


def _accuracy(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return by how much the agents' share of right votes is below the reference's."""
    lost = _ratio(reference, at.RIGHT, at.VOTED) - _ratio(window, at.RIGHT, at.VOTED)
    return _where(_enough(window, at.VOTED), lost)


def _pnl(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return by how much P&L per dollar won or lost is below the reference's, in [-2, 2].

    Sizes cancel out: it is (F - 1) / (F + 1) of the profit factor F.
    """
    lost = _ratio(reference, at.PNL, at.ABSOLUTE) - _ratio(window, at.PNL, at.ABSOLUTE)
    return _where(_enough(window, at.ENDED), lost)


def _slippage(window: FloatArray, reference: FloatArray) -> FloatArray:
    """Return by how much the mean slippage of entries is above the reference's, share of price."""
    more = _ratio(window, at.SLIPPAGE, at.FILLED) - _ratio(reference, at.SLIPPAGE, at.FILLED)
    return _where(_enough(window, at.FILLED), more)


def _enough(window: FloatArray, column: int) -> BoolArray:
    return np.asarray(window[..., column] >= FEW_TRADES)


def _ratio(sums: FloatArray, part: int, whole: int) -> FloatArray:
    count = sums[..., whole]
    out: FloatArray = np.full(count.shape, np.nan)
    return np.divide(sums[..., part], count, out=out, where=count > 0)


def _where(known: BoolArray, values: FloatArray) -> FloatArray:
    return np.where(known, values, np.nan)


def _shares(counts: FloatArray, more: float = 0.0) -> FloatArray:
    counts = counts + more
    shares: FloatArray = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300)
    return shares

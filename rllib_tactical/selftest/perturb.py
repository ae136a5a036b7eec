"""Markets made from a market, to see what a policy and its harness do with them."""

from __future__ import annotations

import numpy as np

from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.decision.orders import round_to_tick
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars, FloatArray, Instrument


def history_of(bars: Bars, instrument: Instrument, bar_seconds: int) -> MarketHistory:
    """Return bars ready for replay, with sessions of the instrument's calendar."""
    return build_history(bars, sessions_of(bars, instrument, bar_seconds), instrument)


def other_future(bars: Bars, cut: int, tick: float, rng: np.random.Generator) -> Bars:
    """Return bars that are the same up to and with bar ``cut`` and quite different after it."""
    count = len(bars) - cut - 1
    shock = np.exp(np.cumsum(rng.normal(0.0, 0.01, count)))
    columns = {}
    for name in ("open", "high", "low", "close"):
        values = getattr(bars, name).copy()
        values[cut + 1 :] = _on_tick(values[cut + 1 :] * shock, tick)
        columns[name] = values
    volume = bars.volume.copy()
    volume[cut + 1 :] = rng.permutation(volume[cut + 1 :])
    return Bars(bars.timestamp_s, **columns, volume=volume)


def mirrored_history(history: MarketHistory) -> MarketHistory:
    """Return the history of prices reflected at the middle of their range, synergies turned."""
    bars, tick = history.bars, history.instrument.tick_size
    twice = float(round_to_tick(np.array([bars.high.max() + bars.low.min()]), tick)[0])
    turned = Bars(
        bars.timestamp_s,
        open=_on_tick(twice - bars.open, tick),
        high=_on_tick(twice - bars.low, tick),
        low=_on_tick(twice - bars.high, tick),
        close=_on_tick(twice - bars.close, tick),
        volume=bars.volume,
    )
    synergy = SynergyTrack(
        history.synergy.kind, np.asarray(-history.synergy.direction), history.synergy.confidence
    )
    return build_history(turned, history.sessions, history.instrument, synergy)


def permuted_history(
    history: MarketHistory, bar_seconds: int, rng: np.random.Generator
) -> MarketHistory:
    """Return the market history of the same bars in random order, joined by their log returns.

    Shapes of bars (high, low, close and volume, relative to the open) change places with each
    other; the moves from close to open do so within sessions and between sessions. Prices have the
    same begin and the same distribution of returns, and nothing in them follows from the past.
    """
    bars, first = history.bars, history.sessions.is_first
    leap = np.log(bars.open[1:] / bars.close[:-1])
    for kind in (first[1:], ~first[1:]):
        leap[kind] = rng.permutation(leap[kind])
    order = rng.permutation(len(bars))
    shape = {name: np.log(getattr(bars, name) / bars.open)[order] for name in _SHAPE}
    start = np.log(bars.open[0]) + np.concatenate([[0.0], np.cumsum(shape["close"][:-1] + leap)])
    tick = history.instrument.tick_size
    open_, high, low, close = (
        _on_tick(np.exp(start + move), tick)
        for move in (np.zeros(len(bars)), *(shape[name] for name in _SHAPE))
    )
    drawn = Bars(bars.timestamp_s, open_, high, low, close, bars.volume[order])
    return history_of(drawn, history.instrument, bar_seconds)


_SHAPE = ("high", "low", "close")


def _on_tick(price: FloatArray, tick: float) -> FloatArray:
    return np.asarray(np.maximum(round_to_tick(price, tick), tick))

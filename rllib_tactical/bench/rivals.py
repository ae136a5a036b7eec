"""Other packages, measured on the same bars in the function that is closest to ours.

They are optional (the extra ``bench``). Each is imported where it is measured, with the filters of
warnings restored afterwards: one of them turns all warnings of the process into errors.
"""

from __future__ import annotations

import importlib
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.bench.measurement import Baseline, Measurement, measure_rate, summarize
from rllib_tactical.domain.types import WINDOW, Bars

SMART_MONEY = "smart-money-concepts"
TRADING_ENV = "gym-trading-env"
ANY_TRADING = "gym-anytrading"
INSTALL = "not installed: pip install -c constraints.txt -e '.[bench]'"


def bar_frame(bars: Bars) -> pd.DataFrame:
    """Return bars as a frame with a time index, as these packages expect them."""
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.to_datetime(bars.timestamp_s, unit="s"))


def smart_money_gaps(bars: Bars, repetitions: int) -> Baseline:
    """Measure bars/s of the fair value gaps of smart-money-concepts over a whole history."""

    def measure() -> Measurement:
        gaps, frame = _smart_money(), bar_frame(bars)
        return measure_rate(partial(gaps, frame), len(bars), repetitions)

    return _measured(SMART_MONEY, f"FVG only, {len(bars):,} bars at once", measure)


def smart_money_updates(bars: Bars) -> tuple[Baseline, Baseline]:
    """Measure p50 and p99 in microseconds of its fair value gaps for a new bar.

    It has no incremental update: the last 60 bars are computed again for each new bar.
    """
    note = f"FVG only, the last {WINDOW} bars again for each new bar"
    times: list[float] = []

    def measure(share: float) -> Measurement:
        if not times:
            gaps, frame = _smart_money(), bar_frame(bars)
            for stop in range(WINDOW, len(frame) + 1):
                window = frame.iloc[stop - WINDOW : stop]
                start = time.process_time_ns()
                gaps(window)
                times.append((time.process_time_ns() - start) / 1e3)
        return summarize([float(pd.Series(times).quantile(share))])

    p50 = _measured(SMART_MONEY, note, partial(measure, 0.5))
    return p50, _measured(SMART_MONEY, note, partial(measure, 0.99))


def gym_steps(bars: Bars, steps: int, repetitions: int) -> tuple[Baseline, Baseline]:
    """Measure steps/s of gym-trading-env and gym-anytrading, with windows of 60 bars."""
    note = f"one account, random actions, windows of {WINDOW} bars"

    def measure(make: Callable[[pd.DataFrame], Any]) -> Measurement:
        return measure_rate(_stepper(make(bar_frame(bars)), steps), steps, repetitions)

    return (
        _measured(TRADING_ENV, note, partial(measure, _trading_env)),
        _measured(ANY_TRADING, note, partial(measure, _any_trading)),
    )


def _smart_money() -> Callable[[pd.DataFrame], object]:
    os.environ.setdefault("SMC_CREDIT", "0")  # it prints an advertisement otherwise
    gaps: Callable[[pd.DataFrame], object] = importlib.import_module("smartmoneyconcepts").smc.fvg
    return gaps


def _trading_env(frame: pd.DataFrame) -> Any:
    module = importlib.import_module("gym_trading_env.environments")
    for number in range(7):  # as many features as our matrix has
        frame[f"feature_{number}"] = frame["close"]
    return module.TradingEnv(
        frame, positions=[-1, 0, 1], windows=WINDOW, initial_position=0, verbose=0
    )


def _any_trading(frame: pd.DataFrame) -> Any:
    module = importlib.import_module("gym_anytrading.envs")
    return module.StocksEnv(frame.rename(columns=str.capitalize), WINDOW, (WINDOW, len(frame)))


def _stepper(env: Any, steps: int) -> Callable[[], None]:
    actions = np.random.default_rng(1).integers(0, int(env.action_space.n), steps).tolist()
    env.reset(seed=1)

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return run


def _measured(name: str, note: str, measure: Callable[[], Measurement]) -> Baseline:
    """Return the baseline, or one without a measurement when its package is missing or fails."""
    try:
        with warnings.catch_warnings():
            return Baseline(name, measure(), note)
    except ImportError:
        return Baseline(name, None, INSTALL)
    except Exception as error:  # of another package: the other rows stay valid
        return Baseline(name, None, f"failed: {type(error).__name__}: {error}")

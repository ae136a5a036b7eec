"""Measurements of a benchmark: medians over repetitions, baselines, ratios, targets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity measured several times: ``median``, ``low`` and ``high`` in the row's unit.

    ``wall``: median by the wall clock where the other three are by processor time, else None.
    ``seeds``: with a number, ``median`` is the mean over so many seeds, and ``low`` and ``high``
    are one standard error below and above it.
    """

    median: float
    low: float
    high: float
    wall: float | None = None
    seeds: int | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The same quantity of another package or method, measured in the same run.

    ``measurement`` is None where it could not be measured; ``note`` says what was measured, or why
    nothing was. ``target_ratio``: how many times better than this the row should be.
    """

    name: str
    measurement: Measurement | None
    note: str
    target_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``target`` None: reported without a target."""

    name: str
    unit: str
    measurement: Measurement
    target: float | None = None
    higher_is_better: bool = True
    baselines: tuple[Baseline, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the median (or the mean over seeds) reaches the target; None without one."""
        if self.target is None:
            return None
        if self.higher_is_better:
            return self.measurement.median >= self.target
        return self.measurement.median <= self.target

    def ratio(self, baseline: Baseline) -> float | None:
        """Return how many times better than the baseline the median is; None if unmeasured."""
        if baseline.measurement is None:
            return None
        ours, theirs = self.measurement.median, baseline.measurement.median
        return ours / theirs if self.higher_is_better else theirs / ours

    def met_against(self, baseline: Baseline) -> bool | None:
        """Whether the ratio to the baseline reaches its target; None without one."""
        ratio = self.ratio(baseline)
        if ratio is None or baseline.target_ratio is None:
            return None
        return ratio >= baseline.target_ratio

    def document(self) -> dict[str, Any]:
        """Return the row as plain values, as in the JSON file."""
        return {
            "name": self.name,
            "unit": self.unit,
            **_plain(self.measurement),
            "target": self.target,
            "better": "higher" if self.higher_is_better else "lower",
            "met": self.met,
            "baselines": [
                {
                    "name": baseline.name,
                    "note": baseline.note,
                    **(_plain(baseline.measurement) if baseline.measurement else {"median": None}),
                    "ratio": self.ratio(baseline),
                    "target_ratio": baseline.target_ratio,
                    "met": self.met_against(baseline),
                }
                for baseline in self.baselines
            ],
        }


def _plain(measurement: Measurement) -> dict[str, float | None]:
    if measurement.seeds is not None:
        ends = {"low": measurement.low, "high": measurement.high}
        return {"mean": measurement.median, **ends, "seeds": measurement.seeds}
    return {
        "median": measurement.median,
        "min": measurement.low,
        "max": measurement.high,
        "wall_median": measurement.wall,
    }


def single(name: str, unit: str, value: float, target: float | None = None) -> Row:
    """Return the row of a value that was measured once, where lower is better."""
    measurement = Measurement(float(value), float(value), float(value))
    return Row(name=name, unit=unit, measurement=measurement, target=target, higher_is_better=False)


def summarize(values: list[float]) -> Measurement:
    """Return median, smallest and largest of one or more values."""
    return Measurement(float(np.median(values)), min(values), max(values))


def standard_error(values: list[float]) -> float:
    """Return the standard error of the mean, NaN for fewer than two values."""
    count = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else float("nan")


def mean_over_seeds(values: list[float]) -> Measurement:
    """Return the mean over one or more seeds, and the mean minus and plus its standard error.

    One seed has no standard error: all three are its value.
    """
    mean, error = float(np.mean(values)), standard_error(values)
    if np.isnan(error):
        error = 0.0
    return Measurement(mean, mean - error, mean + error, seeds=len(values))


def measure_rate(work: Callable[[], object], units: int, repetitions: int) -> Measurement:
    """Return units per second of processor time, after a warm-up call.

    Processor time does not depend on what else the machine does meanwhile. The work must not use
    threads.

    Args:
        work: what is repeated.
        units: how many units one call does.
        repetitions: number of measured calls.
    """
    return measure_rates({"": work}, units, repetitions)[""]


def measure_rates(
    works: dict[str, Callable[[], object]],
    units: int,
    repetitions: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Measurement]:
    """Return units per second of each of ``works`` by processor time, as ``measure_rate`` does.

    They take turns, so that other load on the machine affects all of them alike. Work that uses
    threads is measured by the clock on the wall: ``time.perf_counter``.
    """
    for work in works.values():
        work()
    processor: dict[str, list[float]] = {name: [] for name in works}
    wall: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            wall_start, start = time.perf_counter(), clock()
            work()
            processor[name].append(units / max(clock() - start, 1e-9))
            wall[name].append(units / max(time.perf_counter() - wall_start, 1e-9))
    measurements = {}
    for name, values in processor.items():
        measurement = summarize(values)
        median = float(np.median(wall[name]))
        measurements[name] = Measurement(
            measurement.median, measurement.low, measurement.high, median
        )
    return measurements
